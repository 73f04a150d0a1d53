package broker

import (
	"math"
	"testing"

	"switchback/storage"
)

func TestParseRules(t *testing.T) {
	const hour = 3_600_000
	base := storage.Rules{MaxMessageBytes: 1_048_588, TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: hour}
	with := func(change func(*rules)) rules {
		r := rules{Rules: base, deletable: true, retention: storage.Retention{Ms: 7 * 24 * hour, Bytes: -1}}
		change(&r)
		return r
	}
	cases := []struct {
		name    string
		configs map[string]string
		want    rules
	}{
		{"defaults of 4.2", nil, with(func(*rules) {})},
		{"unknown keys", map[string]string{"x": "y"}, with(func(*rules) {})},
		{"size", map[string]string{"max.message.bytes": " 77 "}, with(func(r *rules) { r.MaxMessageBytes = 77 })},
		{"size zero", map[string]string{"max.message.bytes": "0"}, with(func(r *rules) { r.MaxMessageBytes = 1 })},
		{"append time", map[string]string{"message.timestamp.type": "LogAppendTime"}, with(func(r *rules) { r.LogAppendTime = true })},
		{"create time", map[string]string{"message.timestamp.type": "CreateTime"}, with(func(*rules) {})},
		{"compact", map[string]string{"cleanup.policy": "compact"}, with(func(r *rules) { r.Compacted, r.deletable = true, false })},
		{"compact and delete", map[string]string{"cleanup.policy": "compact, delete"}, with(func(r *rules) { r.Compacted = true })},
		{"limits", map[string]string{"message.timestamp.before.max.ms": "5", "message.timestamp.after.max.ms": "6"},
			with(func(r *rules) { r.TimestampBeforeMaxMs, r.TimestampAfterMaxMs = 5, 6 })},
		{"limits of nothing", map[string]string{"message.timestamp.before.max.ms": "0", "message.timestamp.after.max.ms": "0"},
			with(func(r *rules) { r.TimestampBeforeMaxMs, r.TimestampAfterMaxMs = 1, 1 })},
		{"retention", map[string]string{"retention.ms": "5", "retention.bytes": "6"},
			with(func(r *rules) { r.retention = storage.Retention{Ms: 5, Bytes: 6} })},
		{"2.8: one limit, none by default", map[string]string{"message.timestamp.difference.max.ms": "9223372036854775807"},
			with(func(r *rules) { r.TimestampAfterMaxMs = math.MaxInt64 })},
		{"2.8: one limit", map[string]string{"message.timestamp.difference.max.ms": "50"},
			with(func(r *rules) { r.TimestampBeforeMaxMs, r.TimestampAfterMaxMs = 50, 50 })},
		{"3.9: the new keys win", map[string]string{"message.timestamp.difference.max.ms": "50", "message.timestamp.before.max.ms": "7", "message.timestamp.after.max.ms": "9223372036854775807"},
			with(func(r *rules) { r.TimestampBeforeMaxMs, r.TimestampAfterMaxMs = 7, 50 })},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			configs := map[string]*string{"retention.ms": nil}
			for k, v := range c.configs {
				configs[k] = &v
			}
			got, err := parseRules(configs)
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
	for _, bad := range []string{"", "x", "-1", "1.5", "99999999999999999999"} {
		if _, err := parseRules(map[string]*string{"max.message.bytes": &bad}); err == nil {
			t.Errorf("max.message.bytes=%q was read", bad)
		}
		if _, err := parseRules(map[string]*string{"retention.ms": &bad}); (err == nil) != (bad == "-1") {
			t.Errorf("retention.ms=%q: %v", bad, err)
		}
	}
}
