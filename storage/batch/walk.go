package batch

import "errors"

// Walk calls fn for every whole batch in b, in order, with its header and its
// bytes (a sub-slice of b, valid as long as b is). A batch that is cut short at
// the end ends the walk without an error, because Fetch answers end so. Walk
// returns the first error of fn, or ErrMagic or ErrLength where bytes are no
// batch. It does not check checksums.
func Walk(b []byte, fn func(Header, []byte) error) error {
	for len(b) > 0 {
		h, err := Parse(b)
		if errors.Is(err, ErrShort) {
			return nil
		}
		if err != nil {
			return err
		}
		n := h.Size()
		if err := fn(h, b[:n:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
