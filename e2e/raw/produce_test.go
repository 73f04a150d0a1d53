package raw_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/e2e/raw"
	"switchback/storage/batch"
)

func TestBatchIsOneThatClientsRead(t *testing.T) {
	b := raw.Batch(1_700_000_000_000, "a.0", "a.1", "a.2")
	h, err := batch.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := batch.CheckCRC(b); err != nil || h.Size() != len(b) || h.NumRecords != 3 {
		t.Fatalf("%+v: %v", h, err)
	}
	p := &kmsg.FetchResponseTopicPartition{RecordBatches: b, HighWatermark: 3}
	got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t"}, p, kgo.DefaultDecompressor(), nil)
	if got.Err != nil || len(got.Records) != 3 || string(got.Records[2].Value) != "a.2" || got.Records[2].Offset != 2 {
		t.Fatalf("%+v", got)
	}
}
