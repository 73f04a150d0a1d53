package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"switchback/e2e/machine"
)

// Status is what status --json prints, as far as scenarios look at it.
type Status struct {
	Server struct {
		ClusterID string `json:"cluster_id"`
		Bootstrap string `json:"bootstrap"`
		Node      int32  `json:"node"`
	} `json:"server"`
	Brokers []struct {
		Node   int32  `json:"node"`
		Listen string `json:"listen"`
		Up     bool   `json:"up"`
	} `json:"brokers"`
	Routes []struct {
		Topics    []string `json:"topics"`
		Home      string   `json:"home"`
		Relocated bool     `json:"relocated"`
		Epoch     int64    `json:"epoch"`
		Move      string   `json:"move"`
		Phase     string   `json:"phase"`
		Note      string   `json:"note"`
	} `json:"routes"`
	Partitions []Partition `json:"partitions"`
}

// Partition is one partition's line of a status.
type Partition struct {
	Topic      string `json:"topic"`
	Index      int32  `json:"partition"`
	Home       string `json:"home"`
	Relocated  bool   `json:"relocated"`
	Wire       string `json:"wire"`
	Leader     int32  `json:"leader"`
	Epoch      int32  `json:"leader_epoch"`
	ShownEpoch int32  `json:"shown_leader_epoch"`
	Copy       struct {
		State     string  `json:"state"`
		Confirmed int64   `json:"confirmed"`
		HomeEnd   int64   `json:"home_end"`
		Batches   int64   `json:"batches"`
		DrainMs   float64 `json:"drain_ms"`
		Exact     bool    `json:"rollback_exact"`
		Why       string  `json:"why"`
		Err       string  `json:"error"`
		Remedy    string  `json:"remedy"`
	} `json:"copy"`
}

// Status asks the server how things are.
func (s *Server) Status(ctx context.Context) (Status, error) {
	out, err := s.Command(ctx, "status", "--json")
	var status Status
	if err != nil {
		return status, err
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		return status, fmt.Errorf("read status: %w\n%s", err, out)
	}
	return status, nil
}

// Topic returns the partitions of a topic, in order.
func (s Status) Topic(name string) []Partition {
	var parts []Partition
	for _, p := range s.Partitions {
		if p.Topic == name {
			parts = append(parts, p)
		}
	}
	slices.SortFunc(parts, func(a, b Partition) int { return int(a.Index - b.Index) })
	return parts
}

// AwaitTopic waits until every partition of a topic is known to the server and meets a condition.
func (s *Server) AwaitTopic(ctx context.Context, within time.Duration, topic string, partitions int, what string, ok func(Partition) bool) error {
	return machine.Until(ctx, within, fmt.Sprintf("%s to be %s", topic, what), func(ctx context.Context) error {
		status, err := s.Status(ctx)
		if err != nil {
			return err
		}
		parts := status.Topic(topic)
		if len(parts) != partitions {
			return fmt.Errorf("%d partitions of %d are known", len(parts), partitions)
		}
		for _, p := range parts {
			if !ok(p) {
				return fmt.Errorf("partition %d is %+v", p.Index, p)
			}
		}
		return nil
	})
}

// CaughtUp waits until everything that a topic's home holds is on the other side, whichever way the copy runs.
func (s *Server) CaughtUp(ctx context.Context, topic string, partitions int) error {
	return s.CaughtUpWithin(ctx, time.Minute, topic, partitions)
}

// CaughtUpWithin is CaughtUp where there is more to copy than a minute is for.
func (s *Server) CaughtUpWithin(ctx context.Context, within time.Duration, topic string, partitions int) error {
	return s.AwaitTopic(ctx, within, topic, partitions, "caught up", func(p Partition) bool {
		return (p.Copy.State == "caught-up" || p.Copy.State == "replaying") && p.Copy.Batches == 0
	})
}
