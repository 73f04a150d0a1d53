// Package catalogtest is the conformance suite that every Catalog runs, and a
// wrapper that makes outcomes unknown. It is for tests; the wrapper starts no
// goroutine and loses nothing at a crash that its catalog keeps.
package catalogtest
