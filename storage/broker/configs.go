package broker

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"switchback/storage"
)

// rules are what a topic's configs mean for its logs.
type rules struct {
	storage.Rules
	// deletable is false where cleanup.policy leaves out delete: DeleteRecords is
	// refused then.
	deletable bool
	retention storage.Retention
}

// Kafka 4.2's defaults (LogConfig, TopicConfig).
const (
	defaultMaxMessageBytes = 1<<20 + 12
	defaultAfterMaxMs      = int64(time.Hour / time.Millisecond)
	defaultRetentionMs     = int64(7 * 24 * time.Hour / time.Millisecond)
)

// parseRules reads what the logs have to enforce out of a topic's configs.
// Values are legacy's, which has validated them; one that cannot be read is an
// error all the same, because guessing would accept what legacy refuses.
func parseRules(configs map[string]*string) (rules, error) {
	c := reader{configs: configs}
	difference := c.long("message.timestamp.difference.max.ms", math.MaxInt64) // legacy below 4.0
	r := rules{Rules: storage.Rules{
		MaxMessageBytes:      int32(min(c.long("max.message.bytes", defaultMaxMessageBytes), math.MaxInt32)),
		LogAppendTime:        c.text("message.timestamp.type", "CreateTime") == "LogAppendTime",
		TimestampBeforeMaxMs: c.long("message.timestamp.before.max.ms", difference),
		TimestampAfterMaxMs:  c.long("message.timestamp.after.max.ms", defaultAfterMaxMs),
	}}
	r.retention = storage.Retention{Ms: c.limit("retention.ms", defaultRetentionMs), Bytes: c.limit("retention.bytes", -1)}
	if c.has("message.timestamp.difference.max.ms") {
		// Before KIP-937 one limit held in both directions, and no limit was the
		// default. 3.6 to 3.9 know all three keys; the old one fills in for a new
		// one that is at its default.
		if !c.has("message.timestamp.after.max.ms") || r.TimestampAfterMaxMs == math.MaxInt64 {
			r.TimestampAfterMaxMs = difference
		}
		if r.TimestampBeforeMaxMs == math.MaxInt64 {
			r.TimestampBeforeMaxMs = difference
		}
	}
	for policy := range strings.SplitSeq(c.text("cleanup.policy", "delete"), ",") {
		switch strings.TrimSpace(policy) {
		case "compact":
			r.Compacted = true
		case "delete":
			r.deletable = true
		}
	}
	// Storage reads 0 as "not set". A limit of zero is legal in Kafka and 1 is as
	// near as it gets.
	r.MaxMessageBytes = max(r.MaxMessageBytes, 1)
	r.TimestampBeforeMaxMs = max(r.TimestampBeforeMaxMs, 1)
	r.TimestampAfterMaxMs = max(r.TimestampAfterMaxMs, 1)
	return r, c.err
}

// A reader reads typed values out of configs; the first bad one sticks in err.
type reader struct {
	configs map[string]*string
	err     error
}

func (c *reader) has(key string) bool { return c.configs[key] != nil }

func (c *reader) text(key, unset string) string {
	if v := c.configs[key]; v != nil {
		return strings.TrimSpace(*v)
	}
	return unset
}

// long reads a number that is not negative.
func (c *reader) long(key string, unset int64) int64 { return c.least(key, unset, 0) }

// limit reads a number that is not negative, or -1 for no limit.
func (c *reader) limit(key string, unset int64) int64 { return c.least(key, unset, -1) }

func (c *reader) least(key string, unset, least int64) int64 {
	if !c.has(key) {
		return unset
	}
	v, err := strconv.ParseInt(c.text(key, ""), 10, 64)
	if (err != nil || v < least) && c.err == nil {
		c.err = fmt.Errorf("parse config %s: %q is no number of %d or more", key, *c.configs[key], least)
	}
	return v
}
