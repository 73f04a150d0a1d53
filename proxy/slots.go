package proxy

import (
	"net"
)

const (
	// maxSlots bounds the unanswered requests of one connection; the next is not
	// read. Clients use 5 to 10.
	maxSlots = 128
	// maxBuffered bounds the bytes of upstream answers that were copied because an
	// earlier request is not answered yet.
	maxBuffered = 256 << 10
	// maxGather bounds what one write of W takes together.
	maxGather = 64
)

// A slot is the place of one answer in the order of a connection's answers. The
// zero slot waits for its answer.
type slot struct {
	ready   bool
	copied  int         // bytes of out that count against maxBuffered
	out     net.Buffers // may be empty: the bytes came with an earlier slot
	release func()
}

// full tells whether n more requests would have no slot. c.mu is held.
func (c *conn) full(n int) bool { return c.tail-c.head+uint64(n) > maxSlots }

// reserve takes the next slot for an answer that is made here or from parts; W is
// started with the first. sending is held; what was decided before is flushed. An
// error means that the connection is closed.
func (c *conn) reserve() (seq uint64, err error) {
	if err := c.flush(); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.full(1) && !c.closed {
		c.space.Wait()
	}
	if c.closed {
		return 0, net.ErrClosed
	}
	seq = c.tail
	c.tail++
	c.startWriter()
	return seq, nil
}

// startWriter starts W once. c.mu is held.
func (c *conn) startWriter() {
	if c.writer {
		return
	}
	c.writer = true
	c.wg.spawn(c.writeAnswers)
}

// complete hands in the answer of a reserved slot. It doesn't block; release,
// which may be nil, is called when the bytes were written or are not wanted any
// more. Called once per slot, from any goroutine.
func (c *conn) complete(seq uint64, out net.Buffers, release func()) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		if release != nil {
			release()
		}
		return
	}
	s := &c.slots[seq%maxSlots]
	s.ready, s.out, s.release = true, out, release
	if seq == c.head {
		c.ready.Signal()
	}
	c.mu.Unlock()
}

// pass writes the answers of n slots in a row, from first on, to the client, or
// keeps a copy when it is not their turn. B calls it; b is B's buffer.
func (c *conn) pass(first uint64, n int, b []byte) {
	c.mu.Lock()
	for {
		if c.closed {
			c.mu.Unlock()
			return
		}
		if c.head == first && !c.writing {
			break
		}
		if c.buffered+len(b) <= maxBuffered || c.resends > 0 {
			c.keep(first, n, b)
			c.mu.Unlock()
			return
		}
		c.turn.Wait()
	}
	c.writing = true
	c.mu.Unlock()

	_, err := c.nc.Write(b)
	c.stats.bytesOut.Add(uint64(len(b)))

	c.mu.Lock()
	c.wrote(n)
	c.mu.Unlock()
	if err != nil {
		c.close(err)
	}
}

// keep copies answers whose turn has not come. c.mu is held.
func (c *conn) keep(first uint64, n int, b []byte) {
	for i := range n {
		c.slots[(first+uint64(i))%maxSlots].ready = true
	}
	s := &c.slots[first%maxSlots]
	s.out, s.copied = net.Buffers{append([]byte(nil), b...)}, len(b)
	c.buffered += len(b)
	c.startWriter()
	if first == c.head {
		c.ready.Signal()
	}
}

// wrote gives the pen back after the first n slots were written. c.mu is held.
func (c *conn) wrote(n int) {
	c.head += uint64(n)
	c.writing = false
	c.space.Broadcast()
	c.turn.Broadcast()
	if c.head != c.tail && c.slots[c.head%maxSlots].ready {
		c.ready.Signal()
	}
}

// writeAnswers is W: it writes what is ready at the head, many slots with one
// write, until the connection is closed.
func (c *conn) writeAnswers() {
	var taken []slot
	var out net.Buffers
	for {
		taken, out = taken[:0], out[:0]
		c.mu.Lock()
		for !c.closed && (c.writing || c.head == c.tail || !c.slots[c.head%maxSlots].ready) {
			c.ready.Wait()
		}
		if c.closed {
			c.dropSlots()
			return
		}
		for at := c.head; at != c.tail && len(taken) < maxGather; at++ {
			s := &c.slots[at%maxSlots]
			if !s.ready {
				break
			}
			taken = append(taken, *s)
			out = append(out, s.out...)
			c.buffered -= s.copied
			*s = slot{}
		}
		c.writing = true
		c.mu.Unlock()

		n, err := c.writeBuffers(out)
		c.stats.bytesOut.Add(uint64(n))
		for i := range taken {
			if taken[i].release != nil {
				taken[i].release()
			}
			taken[i] = slot{}
		}

		c.mu.Lock()
		c.wrote(len(taken))
		c.mu.Unlock()
		if err != nil {
			c.close(err)
		}
	}
}

// writeBuffers is one writev; it leaves out, which is reused, to the caller.
func (c *conn) writeBuffers(out net.Buffers) (int64, error) {
	vec := out // WriteTo consumes its receiver
	return vec.WriteTo(c.nc)
}

// dropSlots releases what is ready and will never be written. c.mu is held, and
// given up.
func (c *conn) dropSlots() {
	var releases []func()
	for i := range c.slots {
		if r := c.slots[i].release; r != nil {
			releases = append(releases, r)
		}
		c.slots[i] = slot{}
	}
	c.mu.Unlock()
	for _, release := range releases {
		release()
	}
}
