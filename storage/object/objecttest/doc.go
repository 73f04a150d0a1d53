// Package objecttest is what every object.Store has to do, as tests. It is for
// tests only and owns no goroutine when Run returns.
package objecttest
