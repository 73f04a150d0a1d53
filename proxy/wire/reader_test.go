package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// chunked gives what it reads in random portions, as a socket does.
type chunked struct {
	from io.Reader
	r    *rand.Rand
	most int
}

func (c chunked) Read(p []byte) (int, error) {
	return c.from.Read(p[:min(len(p), 1+c.r.IntN(c.most))])
}

func readAll(t *testing.T, r *Reader) (frames [][]byte, err error) {
	t.Helper()
	for {
		b, err := r.Next()
		if err != nil {
			return frames, err
		}
		if len(b) == 0 {
			t.Fatal("Next returned nothing")
		}
		for len(b) > 0 {
			frame, rest, ok := Split(b)
			if !ok {
				t.Fatal("Next returned a part of a frame")
			}
			frames = append(frames, bytes.Clone(frame))
			b = rest
		}
	}
}

func TestReader(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for _, most := range []int{1, 7, 5000, 100_000, 3 << 20} {
		var stream []byte
		var want [][]byte
		for range 200 {
			size := r.IntN(2000)
			if most > 1 && r.IntN(20) == 0 {
				size = r.IntN(2 << 20)
			}
			frame := randomBytes(r, size)
			want = append(want, frame)
			stream = append(putSize(append(append(stream, 0, 0, 0, 0), frame...), len(stream)), nil...)
		}
		got, err := readAll(t, NewReader(chunked{bytes.NewReader(stream), r, most}, 0))
		if !errors.Is(err, io.EOF) {
			t.Fatalf("portions of %d: %v, want io.EOF", most, err)
		}
		if len(got) != len(want) {
			t.Fatalf("portions of %d: %d frames, want %d", most, len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("portions of %d: frame %d differs", most, i)
			}
		}
	}
}

// Many small frames come in one piece.
func TestReaderCoalesces(t *testing.T) {
	r := NewReader(bytes.NewReader(bytes.Repeat(frameOf(1000), 50)), 0)
	b, err := r.Next()
	must(t, err)
	if want := 50 * 1004; len(b) != want {
		t.Fatalf("%d bytes in one piece, want %d", len(b), want)
	}
}

func TestReaderEnds(t *testing.T) {
	whole := frameOf(100)
	if _, err := readAll(t, NewReader(bytes.NewReader(whole[:60]), 0)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("inside a frame: %v, want io.ErrUnexpectedEOF", err)
	}
	if _, err := readAll(t, NewReader(bytes.NewReader(whole[:2]), 0)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("inside a size: %v, want io.ErrUnexpectedEOF", err)
	}
	broken := errors.New("broken")
	frames, err := readAll(t, NewReader(io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(broken)), 0))
	if !errors.Is(err, broken) || len(frames) != 1 {
		t.Errorf("%d frames, error %v, want 1 and the reader's error", len(frames), err)
	}
	frames, err = readAll(t, NewReader(iotest.DataErrReader(bytes.NewReader(whole)), 0))
	if !errors.Is(err, io.EOF) || len(frames) != 1 {
		t.Errorf("bytes with the error: %d frames, error %v, want 1 and io.EOF", len(frames), err)
	}
}

func TestReaderBoundsFrames(t *testing.T) {
	good := frameOf(100)
	for name, bad := range map[string][]byte{"large": {0, 0, 4, 0}, "negative": {0xff, 0xff, 0xff, 0xff}} {
		frames, err := readAll(t, NewReader(bytes.NewReader(append(bytes.Clone(good), bad...)), 1000))
		if !errors.Is(err, ErrMalformed) || len(frames) != 1 {
			t.Errorf("%s: %d frames, error %v, want the sound one and ErrMalformed", name, len(frames), err)
		}
	}
}

// A size that promises much makes nothing much larger than what has come.
func TestReaderAllocatesWhatHasCome(t *testing.T) {
	r := NewReader(bytes.NewReader(append([]byte{0x06, 0, 0, 0}, make([]byte, 100)...)), 0)
	if _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if len(r.buf) > growStep {
		t.Errorf("buffer of %d bytes after 104 had come", len(r.buf))
	}
}

func TestReaderShrinks(t *testing.T) {
	stream := append(frameOf(8<<20), bytes.Repeat(frameOf(500), 100_000)...)
	r := NewReader(chunked{bytes.NewReader(stream), rand.New(rand.NewPCG(9, 9)), 20_000}, 0)
	_, err := r.Next()
	must(t, err)
	grown := len(r.buf)
	for range 3 * smallReads {
		_, err := r.Next()
		must(t, err)
	}
	if grown < 8<<20 || len(r.buf) > wideBuffer {
		t.Errorf("buffer grew to %d and is %d after small frames", grown, len(r.buf))
	}
}

func TestSplitRefusesParts(t *testing.T) {
	for _, b := range [][]byte{nil, {0, 0}, {0, 0, 0, 9, 1}, {0xff, 0xff, 0xff, 0xff, 1}} {
		if _, _, ok := Split(b); ok {
			t.Errorf("Split(%x) is ok", b)
		}
	}
}
