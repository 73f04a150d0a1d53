// Package offsets holds the arithmetic of a migration: which offset on one
// cluster is which on the other, which leader epoch a client is shown, whether
// two logs are equal.
package offsets
