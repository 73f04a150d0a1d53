package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"switchback/storage/catalog"
)

// OwnerTopic is the default name of the small topic of our own on legacy. It holds who owns the
// migration, so that an empty, copied or restored data folder cannot quietly
// take over a cluster whose topics live elsewhere by now.
const OwnerTopic = "__switchback_owner"

const ownerKey = "owner"

// An Owner is the record that both sides keep: the catalog of the data folder,
// and OwnerTopic on legacy.
type Owner struct {
	ID          string `json:"owner"`       // made once per data folder
	Incarnation int64  `json:"incarnation"` // rises with every start, above those of all that owned legacy before
	Epoch       int64  `json:"epoch"`       // highest route epoch that may have opened the target
}

// An OwnerError refuses a start or a claim: legacy's record and the data folder
// do not agree about who owns the migration.
type OwnerError struct {
	Legacy, Folder Owner
	Why            string
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("own legacy: %s (legacy's record: owner %s, start %d, route epoch %d; this data folder: owner %s, start %d, route epoch %d)",
		e.Why, e.Legacy.ID, e.Legacy.Incarnation, e.Legacy.Epoch, e.Folder.ID, e.Folder.Incarnation, e.Folder.Epoch)
}

// Hint says what an operator can do about it.
func (e *OwnerError) Hint() string {
	return "start the server on the data folder that owns this cluster. If that folder is lost for good, `serve --adopt` takes over: " +
		"topics that were moved then count as being on legacy again, and records that only the lost target held are lost"
}

// ownership keeps the two copies of the owner record in step.
type ownership struct {
	cat    catalog.Catalog
	client *kgo.Client
	admin  *kadm.Client
	topic  string

	mu   sync.Mutex // one claim at a time; guards what follows
	mine Owner
	seen Owner // what the records below next say together
	next int64 // offset in OwnerTopic up to which every record was read
}

func openOwnership(cat catalog.Catalog, topic string, bootstrap []string) (*ownership, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap...),
		kgo.ClientID("switchback-owner"),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
		kgo.RecordDeliveryTimeout(10*time.Second),
		// An idempotent record that was sent once can't be given up, however long its broker hangs. One of ours may stand twice then, or
		// come late, behind a newer one: see latest.
		kgo.DisableIdempotentWrite(),
		kgo.MetadataMinAge(100*time.Millisecond),
	)
	if err != nil {
		return nil, fmt.Errorf("open owner client: %w", err)
	}
	return &ownership{cat: cat, client: client, admin: kadm.NewClient(client), topic: topic}, nil
}

func (o *ownership) close() { o.client.Close() }

// take is the check at start. It refuses a folder that is not the owner, and
// otherwise writes a higher incarnation to both sides, folder first: a crash in
// between only skips a number.
func (o *ownership) take(ctx context.Context, adopt bool) (Owner, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	folder, rev, err := o.load(ctx)
	if err != nil {
		return Owner{}, err
	}
	if err := o.ensureTopic(ctx); err != nil {
		return Owner{}, err
	}
	legacy, found, err := o.read(ctx)
	if err != nil {
		return Owner{}, err
	}
	if found && !adopt {
		if err := agree(legacy, folder); err != nil {
			return Owner{}, err
		}
	}
	if folder.ID == "" {
		folder.ID = newOwnerID()
	}
	folder.Incarnation = max(folder.Incarnation, legacy.Incarnation) + 1 // so that what the former owner still writes takes nothing back
	folder.Epoch = max(folder.Epoch, legacy.Epoch)
	if err := o.save(ctx, folder, rev); err != nil {
		return Owner{}, err
	}
	o.mine = folder
	return folder, o.publish(ctx)
}

// agree says whether folder may own what legacy says is owned.
func agree(legacy, folder Owner) error {
	refuse := func(why string) error { return &OwnerError{Legacy: legacy, Folder: folder, Why: why} }
	switch {
	case folder.ID == "":
		return refuse("this data folder is empty, but another one owns this cluster")
	case folder.ID != legacy.ID:
		return refuse("another data folder owns this cluster")
	case legacy.Epoch > folder.Epoch:
		return refuse("this data folder is older than what legacy knows (restored from a backup, or a copy)")
	case legacy.Incarnation > folder.Incarnation:
		return refuse("a copy of this data folder was started after this one")
	}
	return nil
}

// claim makes epoch the highest route epoch that may open the target, in the
// folder first and then on legacy. It returns when legacy holds it.
func (o *ownership) claim(ctx context.Context, epoch int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if epoch > o.mine.Epoch {
		_, rev, err := o.load(ctx)
		if err != nil {
			return err
		}
		want := o.mine
		want.Epoch = epoch
		if err := o.save(ctx, want, rev); err != nil {
			return err
		}
		o.mine = want
	}
	return o.publish(ctx)
}

// publish appends mine to the owner topic and then reads everything up to it, to
// learn whether somebody else has taken over in between. When it fails, the record
// may still come to stand in the topic, at any later time.
func (o *ownership) publish(ctx context.Context) error {
	value, err := json.Marshal(o.mine)
	if err != nil {
		return fmt.Errorf("encode owner: %w", err)
	}
	rec := &kgo.Record{Topic: o.topic, Partition: 0, Key: []byte(ownerKey), Value: value}
	if err := o.client.ProduceSync(ctx, rec).FirstErr(); err != nil {
		return fmt.Errorf("write owner record to %s on legacy: %w", o.topic, err)
	}
	seen := o.seen
	err = o.readFrom(ctx, o.next, rec.Offset, func(one Owner) { seen = latest(seen, one) })
	if err != nil {
		return err
	}
	o.seen, o.next = latest(seen, o.mine), rec.Offset+1
	if o.seen.ID != o.mine.ID || o.seen.Incarnation > o.mine.Incarnation {
		return &OwnerError{Legacy: o.seen, Folder: o.mine, Why: "another server has taken this cluster over"}
	}
	return nil
}

// latest is who owns legacy after one more record. Records come late, behind newer
// ones, and a former owner writes one before it learns that it is none: neither
// takes anything back. Of two that started at once the first in the log owns it.
func latest(have, one Owner) Owner {
	switch {
	case one.ID == have.ID:
		one.Incarnation = max(one.Incarnation, have.Incarnation)
		one.Epoch = max(one.Epoch, have.Epoch)
	case one.Incarnation <= have.Incarnation:
		return have
	}
	return one
}

// read returns what the owner records on legacy say together.
func (o *ownership) read(ctx context.Context) (owner Owner, found bool, err error) {
	start, err := o.bound(ctx, "start", o.admin.ListStartOffsets)
	if err != nil {
		return Owner{}, false, err
	}
	end, err := o.bound(ctx, "end", o.admin.ListEndOffsets)
	if err != nil {
		return Owner{}, false, err
	}
	err = o.readFrom(ctx, start, end, func(one Owner) { owner, found = latest(owner, one), true })
	if err == nil {
		o.seen, o.next = owner, end
	}
	return owner, found, err
}

// bound asks for one end of the owner topic. A topic that was just created is
// not known to every broker yet, and one of an old topic may be electing: both
// pass, and are waited for as long as ctx lasts.
func (o *ownership) bound(ctx context.Context, which string, list func(context.Context, ...string) (kadm.ListedOffsets, error)) (int64, error) {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		all, err := list(ctx, o.topic)
		if err == nil {
			err = all.Error()
		}
		if err == nil {
			at, ok := all.Lookup(o.topic, 0)
			if ok {
				return at.Offset, nil
			}
			err = kerr.UnknownTopicOrPartition
		}
		if !kerr.IsRetriable(err) || pause(ctx, wait) != nil {
			return 0, fmt.Errorf("read %s of %s on legacy: %w", which, o.topic, err)
		}
		o.client.PurgeTopicsFromClient(o.topic) // what it knows may be that there is none
	}
}

// readFrom shows every owner record in [from, to), in order.
func (o *ownership) readFrom(ctx context.Context, from, to int64, see func(Owner)) error {
	if from >= to {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	o.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{o.topic: {0: kgo.NewOffset().At(from)}})
	defer o.client.RemoveConsumePartitions(map[string][]int32{o.topic: {0}})
	for next := from; next < to; {
		fetches := o.client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("read %s on legacy: %w", o.topic, err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			rec := it.Next()
			next = rec.Offset + 1
			if rec.Offset >= to || string(rec.Key) != ownerKey {
				continue
			}
			var one Owner
			if err := json.Unmarshal(rec.Value, &one); err != nil {
				return fmt.Errorf("parse record %d of %s on legacy: %w", rec.Offset, o.topic, err)
			}
			see(one)
		}
	}
	return nil
}

// ensureTopic creates the owner topic when it is not there. It is not compacted: it
// gets a record per start and per flip, and its history is worth keeping.
//
// It is replicated, whatever the cluster's default is: no move can be claimed while
// its leader is away, so one broker's outage would keep everything where it is. A
// cluster that doesn't take that number (brokers are down, a policy) gets to choose.
func (o *ownership) ensureTopic(ctx context.Context) error {
	brokers, err := o.admin.ListBrokers(ctx)
	if err != nil {
		return fmt.Errorf("count brokers of legacy: %w", err)
	}
	never, two := "-1", "2"
	configs := map[string]*string{"retention.ms": &never, "retention.bytes": &never}
	replicas := int16(min(len(brokers), 3))
	if replicas == 3 {
		configs["min.insync.replicas"] = &two // an acknowledged claim outlives any one broker
	}
	err = o.createTopic(ctx, replicas, configs)
	if errors.Is(err, kerr.InvalidReplicationFactor) || errors.Is(err, kerr.PolicyViolation) || errors.Is(err, kerr.InvalidConfig) {
		delete(configs, "min.insync.replicas")
		err = o.createTopic(ctx, -1, configs)
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s on legacy: %w (create it by hand with one partition, retention.ms=-1, if our principal may not)", o.topic, err)
	}
	return nil
}

func (o *ownership) createTopic(ctx context.Context, replicas int16, configs map[string]*string) error {
	resp, err := o.admin.CreateTopic(ctx, 1, replicas, configs, o.topic)
	if err == nil {
		err = resp.Err
	}
	return err
}

const ownerCatalogKey = "owner"

func (o *ownership) load(ctx context.Context) (Owner, int64, error) {
	kv, err := o.cat.Get(ctx, ownerCatalogKey)
	if err != nil {
		return Owner{}, 0, fmt.Errorf("read owner from catalog: %w", err)
	}
	var own Owner
	if kv.Rev == 0 {
		return own, 0, nil
	}
	if err := json.Unmarshal(kv.Value, &own); err != nil {
		return own, 0, fmt.Errorf("parse owner in catalog: %w", err)
	}
	return own, kv.Rev, nil
}

func (o *ownership) save(ctx context.Context, own Owner, rev int64) error {
	value, err := json.Marshal(own)
	if err != nil {
		return fmt.Errorf("encode owner: %w", err)
	}
	_, err = o.cat.Txn(ctx, []catalog.Compare{{Key: ownerCatalogKey, Rev: rev}}, []catalog.Op{{Key: ownerCatalogKey, Value: value}})
	if err != nil {
		return fmt.Errorf("write owner to catalog: %w", err)
	}
	return nil
}

func newOwnerID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails: it ends the process instead
	return hex.EncodeToString(b[:])
}
