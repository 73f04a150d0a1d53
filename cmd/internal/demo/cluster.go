package demo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"switchback/cmd/internal/admin"
)

const (
	ownBrokers = 3
	// reach bounds the first answer of a real cluster.
	reach = 10 * time.Second
)

// A cluster is legacy, as reached without Switchback.
type cluster struct {
	kind    string   // for people
	addrs   []string // bootstrap
	brokers int
	topic   string
	folder  string // data folder of the server, removed with the rest
	fake    *kfake.Cluster
	client  *kgo.Client
	admin   *kadm.Client
	created bool
}

// openCluster makes a cluster, or reaches the one at addr, and creates the
// demo's topic there. What it has made by the time of an error is gone.
func openCluster(ctx context.Context, addr string) (*cluster, error) {
	c := &cluster{kind: "a cluster of its own (kfake, in this process)", topic: "switchback-demo-" + suffix()}
	if addr == "" {
		fake, err := kfake.NewCluster(kfake.NumBrokers(ownBrokers))
		if err != nil {
			return nil, fmt.Errorf("make a cluster: %w", err)
		}
		c.fake, c.addrs = fake, fake.ListenAddrs()
	} else {
		c.kind, c.addrs = "the real cluster", strings.Split(addr, ",")
	}
	if err := c.prepare(ctx, addr); err != nil {
		return nil, errors.Join(err, c.clean(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (c *cluster) prepare(ctx context.Context, addr string) error {
	var err error
	if c.client, err = kgo.NewClient(kgo.SeedBrokers(c.addrs...), kgo.ClientID("switchback-demo-auditor")); err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	c.admin = kadm.NewClient(c.client)
	first, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	meta, err := c.admin.BrokerMetadata(first)
	if err != nil {
		return &admin.Error{Op: "reach legacy", Subject: addr, Text: err.Error(), Code: admin.CodeNoLegacy,
			Hint: "name a broker of a running cluster that this machine reaches without TLS or SASL: --legacy HOST:PORT"}
	}
	c.brokers = len(meta.Brokers)
	// Said here so that a cluster's own defaults cannot make the way back inexact.
	as, producer := "CreateTime", "producer"
	made, err := c.admin.CreateTopic(ctx, partitions, int16(min(3, c.brokers)),
		map[string]*string{"message.timestamp.type": &as, "compression.type": &producer}, c.topic)
	if err == nil {
		err = made.Err
	}
	if err != nil {
		return fmt.Errorf("create topic %s: %w", c.topic, err)
	}
	c.created = true
	return nil
}

// ownerTopic keeps the demo apart from a Switchback that works for real there.
func (c *cluster) ownerTopic() string { return "__" + c.topic + "-owner" }

// readBack reads all partitions of the topic from legacy itself, from start to
// end.
func (c *cluster) readBack(ctx context.Context) (log [partitions][]record, err error) {
	ends, err := c.admin.ListEndOffsets(ctx, c.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return log, fmt.Errorf("list end offsets: %w", err)
	}
	from := map[int32]kgo.Offset{}
	var left int
	var next [partitions]int64
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			from[o.Partition] = kgo.NewOffset().AtStart()
			left++
		}
	})
	if left == 0 {
		return log, nil
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(c.addrs...), kgo.ClientID("switchback-demo-auditor"),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.topic: from}))
	if err != nil {
		return log, fmt.Errorf("make a client: %w", err)
	}
	defer reader.Close()
	for left > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return log, fmt.Errorf("read %s back: %w", c.topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			m, valid := parseMark(r.Value)
			log[r.Partition] = append(log[r.Partition], record{r.Offset, m, valid})
			end, _ := ends.Lookup(c.topic, r.Partition)
			if next[r.Partition] < end.Offset && r.Offset+1 >= end.Offset {
				left--
			}
			next[r.Partition] = r.Offset + 1
		})
	}
	return log, nil
}

// clean removes everything from the cluster that the demo has put there, and
// the cluster if it is the demo's own.
func (c *cluster) clean(ctx context.Context) error {
	var errs []error
	if c.fake == nil && c.created {
		errs = append(errs, c.deleteTopics(ctx), c.deleteGroups(ctx))
	}
	if c.client != nil {
		c.client.Close()
	}
	if c.fake != nil {
		c.fake.Close()
	}
	if c.folder != "" {
		errs = append(errs, os.RemoveAll(c.folder))
	}
	return errors.Join(errs...)
}

func (c *cluster) deleteTopics(ctx context.Context) error {
	deleted, err := c.admin.DeleteTopics(ctx, c.topic, c.ownerTopic())
	if err != nil {
		return fmt.Errorf("delete topics of the demo: %w", err)
	}
	for _, d := range deleted.Sorted() {
		if d.Err != nil && !errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("delete topic %s: %w", d.Topic, d.Err)
		}
	}
	return nil
}

func (c *cluster) deleteGroups(ctx context.Context) error {
	// A member that has just left may still be counted for a moment.
	return await(ctx, "empty groups to delete", func() (bool, error) {
		deleted, err := c.admin.DeleteGroups(ctx, groupNames(c.topic)...)
		if err != nil {
			return false, err
		}
		for _, d := range deleted.Sorted() {
			if d.Err != nil && !errors.Is(d.Err, kerr.GroupIDNotFound) {
				return false, fmt.Errorf("delete group %s: %w", d.Group, d.Err)
			}
		}
		return true, nil
	})
}

func suffix() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	return hex.EncodeToString(b[:])
}
