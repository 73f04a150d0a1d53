package server

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"switchback/storage/catalog"
)

// folder opens a data folder's catalog and its ownership over the cluster.
func folder(t *testing.T, path string, cluster *kfake.Cluster) *ownership {
	t.Helper()
	cat, err := catalog.OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cat.Close() })
	own, err := openOwnership(cat, OwnerTopic, cluster.ListenAddrs())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.close)
	return own
}

func TestOwnerRefusesOtherFolders(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	dir := t.TempDir()

	first := folder(t, filepath.Join(dir, "first"), cluster)
	mine, err := first.take(ctx, false)
	if err != nil || mine.Incarnation != 1 || mine.Epoch != 0 {
		t.Fatalf("first start: %+v, %v", mine, err)
	}
	if err := first.claim(ctx, 3); err != nil {
		t.Fatal(err)
	}

	var refused *OwnerError
	stranger := folder(t, filepath.Join(dir, "empty"), cluster)
	if _, err := stranger.take(ctx, false); !errors.As(err, &refused) || refused.Legacy.Epoch != 3 {
		t.Fatalf("an empty folder took over: %v", err)
	}

	// A restored folder knows less than legacy does.
	if err := first.save(ctx, Owner{ID: mine.ID, Incarnation: 1, Epoch: 2}, rev(t, first)); err != nil {
		t.Fatal(err)
	}
	if _, err := first.take(ctx, false); !errors.As(err, &refused) {
		t.Fatalf("a restored folder was taken: %v", err)
	}
	if err := first.save(ctx, Owner{ID: mine.ID, Incarnation: 0, Epoch: 3}, rev(t, first)); err != nil {
		t.Fatal(err)
	}
	if _, err := first.take(ctx, false); !errors.As(err, &refused) {
		t.Fatalf("a copied folder was taken: %v", err)
	}

	if err := first.save(ctx, Owner{ID: mine.ID, Incarnation: 1, Epoch: 3}, rev(t, first)); err != nil {
		t.Fatal(err)
	}
	again, err := first.take(ctx, false)
	if err != nil || again.Incarnation != 2 || again.Epoch != 3 {
		t.Fatalf("second start: %+v, %v", again, err)
	}

	// The one that is adopted away finds out at its next claim.
	taken, err := stranger.take(ctx, true)
	if err != nil || taken.ID == mine.ID || taken.Epoch != 3 {
		t.Fatalf("adopt: %+v, %v", taken, err)
	}
	if err := first.claim(ctx, 4); !errors.As(err, &refused) || refused.Legacy.ID != taken.ID {
		t.Fatalf("the former owner could claim: %v", err)
	}

	// What the former owner wrote to find out stands behind the new one's record.
	if err := stranger.claim(ctx, 5); err != nil {
		t.Fatalf("the record of a former owner refuses a claim: %v", err)
	}
	if err := first.claim(ctx, 6); !errors.As(err, &refused) {
		t.Fatalf("the former owner could claim: %v", err)
	}
	if _, err := stranger.take(ctx, false); err != nil {
		t.Fatalf("the record of a former owner refuses a start: %v", err)
	}
}

// Two servers with different folders start on a new cluster at once: one owns it.
func TestOwnerOfTwoThatStartAtOnce(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	first := folder(t, filepath.Join(t.TempDir(), "first"), cluster)
	if _, err := first.take(ctx, false); err != nil {
		t.Fatal(err)
	}
	second := folder(t, filepath.Join(t.TempDir(), "second"), cluster)
	second.mine = Owner{ID: "second", Incarnation: 1} // it read the topic before the first one's record stood there
	var refused *OwnerError
	if err := second.publish(ctx); !errors.As(err, &refused) || refused.Legacy.ID != first.mine.ID {
		t.Errorf("the second one owns it too: %v", err)
	}
	if err := first.claim(ctx, 1); err != nil {
		t.Errorf("the first one lost it to a server that was refused: %v", err)
	}
}

// A claim that was given up may be written all the same, much later, behind others.
func TestOwnerRecordsThatComeLate(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	own := folder(t, filepath.Join(t.TempDir(), "folder"), cluster)
	mine, err := own.take(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := own.claim(ctx, 6); err != nil {
		t.Fatal(err)
	}
	late := Owner{ID: mine.ID, Incarnation: mine.Incarnation, Epoch: 5}
	write(ctx, t, own, late)
	if err := own.claim(ctx, 7); err != nil {
		t.Fatalf("one's own late record refuses a claim: %v", err)
	}
	write(ctx, t, own, late)

	var refused *OwnerError
	if err := own.save(ctx, Owner{ID: mine.ID, Incarnation: mine.Incarnation, Epoch: 6}, rev(t, own)); err != nil {
		t.Fatal(err)
	}
	if _, err := own.take(ctx, false); !errors.As(err, &refused) || refused.Legacy.Epoch != 7 {
		t.Fatalf("behind a late record a restored folder was taken: %v", err)
	}
	if err := own.save(ctx, Owner{ID: mine.ID, Incarnation: mine.Incarnation, Epoch: 7}, rev(t, own)); err != nil {
		t.Fatal(err)
	}
	if _, err := own.take(ctx, false); err != nil {
		t.Fatal(err)
	}

	write(ctx, t, own, Owner{ID: "stranger", Incarnation: own.mine.Incarnation + 1, Epoch: 7})
	write(ctx, t, own, late)
	if err := own.claim(ctx, 8); !errors.As(err, &refused) || refused.Legacy.ID != "stranger" {
		t.Fatalf("behind a late record a stranger was not seen: %v", err)
	}
}

// write appends a record to the owner topic as a request does that was given up.
func write(ctx context.Context, t *testing.T, o *ownership, owner Owner) {
	t.Helper()
	value, err := json.Marshal(owner)
	if err != nil {
		t.Fatal(err)
	}
	rec := &kgo.Record{Topic: o.topic, Key: []byte(ownerKey), Value: value}
	if err := o.client.ProduceSync(ctx, rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func rev(t *testing.T, o *ownership) int64 {
	t.Helper()
	_, rev, err := o.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rev
}
