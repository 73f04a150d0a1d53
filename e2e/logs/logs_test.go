package logs

import (
	"strings"
	"testing"

	"switchback/storage/batch"
)

func TestDiffFindsEveryDifference(t *testing.T) {
	log := func() *Log {
		return &Log{End: 30, Batches: []batch.Header{
			{BaseOffset: 0, Length: 100, LeaderEpoch: 1, CRC: 11, LastOffsetDelta: 9},
			{BaseOffset: 10, Length: 200, LeaderEpoch: 1, CRC: 12, LastOffsetDelta: 19},
		}}
	}
	cases := []struct {
		name   string
		spoil  func(l *Log)
		want   string
		epochs int
	}{
		{"equal", func(*Log) {}, "", 0},
		{"start", func(l *Log) { l.Start = 5 }, "start", 0},
		{"end", func(l *Log) { l.End = 31 }, "to offset 31", 0},
		{"one less", func(l *Log) { l.Batches = l.Batches[:1] }, "1 batches", 0},
		{"content", func(l *Log) { l.Batches[1].CRC++ }, "batch 1", 0},
		{"offset", func(l *Log) { l.Batches[0].BaseOffset++ }, "batch 0", 0},
		{"producer", func(l *Log) { l.Batches[0].ProducerID = 7 }, "batch 0", 0},
		{"leader epoch only", func(l *Log) { l.Batches[1].LeaderEpoch = 2 }, "", 1},
		{"leader epoch and content", func(l *Log) { l.Batches[1].LeaderEpoch, l.Batches[1].CRC = 2, 99 }, "batch 1", 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := log()
			c.spoil(b)
			got, epochs := Diff(log(), b)
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) || epochs != c.epochs {
				t.Fatalf("got %q and %d epochs, want %q and %d", got, epochs, c.want, c.epochs)
			}
		})
	}
}
