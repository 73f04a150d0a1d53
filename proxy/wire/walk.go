package wire

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// is refuses a message that a walker is not for.
func (h Header) is(key kmsg.Key, lowest, highest int16) error {
	if h.Key != int16(key) || h.Version < lowest || h.Version > highest {
		return fmt.Errorf("walk %s: %w: key %d version %d, want version %d to %d", key.Name(), ErrUnknownAPI, h.Key, h.Version, lowest, highest)
	}
	return nil
}

// errTagBomb is a message that says it has more tagged fields than bytes.
var errTagBomb = fmt.Errorf("%w: more tagged fields than bytes", ErrMalformed)

// err is the end of a walk.
func (c *cursor) err(key, version int16) error {
	if !c.bad {
		return nil
	}
	if c.bomb {
		return fmt.Errorf("walk %s version %d: %w", kmsg.NameForKey(key), version, errTagBomb)
	}
	return fmt.Errorf("walk %s version %d: %w: %d bytes end too early", kmsg.NameForKey(key), version, ErrMalformed, len(c.b))
}

// topic reads what a topic is called in this version: a name or an id.
func (c *cursor) topic(flexible, ids bool) (name []byte, id [16]byte) {
	if ids {
		return nil, c.uuid()
	}
	return c.text(flexible), id
}

// answerHeader steps over the header of a response: the correlation id, and tags
// in a flexible version.
func (c *cursor) answerHeader(flexible bool) {
	c.int32()
	c.tags(flexible)
}
