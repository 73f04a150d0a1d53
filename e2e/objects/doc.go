// Package objects runs the object stores of storage/object against real servers: versitygw as a child process, with a proxy between
// that loses answers, cuts bodies and refuses, as networks and servers do.
//
// It promises nothing to anybody but its tests. Servers end with the test that started them.
package objects
