// Package house holds the rules of this repository that a machine can check: which of our packages may import which, what stands at the top
// level, and a few manners. It has tests only.
//
// A new import between our packages begins with a line in the table of house_test.go and a reason; a line that nothing uses any more is an error too,
// so that the table stays the picture of the house.
package house
