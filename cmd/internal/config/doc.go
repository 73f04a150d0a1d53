// Package config reads the one file that `switchback serve` needs.
//
// It promises that a file is taken as it is written or not at all: an unknown
// key, a wrong type, a key given twice or a second document is refused with
// line, column and an excerpt of the file, and a value that cannot work is
// refused with the place where it stands and what to write instead. What the
// file leaves out has the value of Default, and Example prints a file that
// says all of them with a comment each: a test holds the two equal.
//
// It does not look at the world: that a port is free, that legacy answers or
// that the data folder is ours is found out by the server.
//
// There is no environment, no include and no templating: reading the file is
// enough to know what the server was told. The package owns no goroutine, and
// a Config is frozen once the server has it.
package config
