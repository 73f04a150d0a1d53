// Package batchtest builds record batches for tests: well-formed ones from a few
// fields, which a test then bends. It is for tests only, owns no goroutine and
// promises nothing about speed.
package batchtest
