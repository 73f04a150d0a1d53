package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/e2e/machine"
)

// MoveLeader makes a broker the leader of a partition: it becomes the first of the replicas (in place of the last one where it is none
// yet), and then the preferred leader is elected. It waits until the cluster says so.
func (c *Cluster) MoveLeader(ctx context.Context, name string, partition, to int32) error {
	topic, err := c.Topic(ctx, name)
	if err != nil {
		return err
	}
	if int(partition) >= len(topic.Partitions) {
		return fmt.Errorf("move leader of %s-%d: no such partition", name, partition)
	}
	have := topic.Partitions[partition]
	if have.Leader == to {
		return nil
	}
	want := slices.DeleteFunc(slices.Clone(have.Replicas), func(id int32) bool { return id == to })
	if len(want) == len(have.Replicas) {
		want = want[:len(want)-1]
	}
	want = append([]int32{to}, want...)
	if err := c.reassign(ctx, name, partition, want); err != nil {
		return fmt.Errorf("move leader of %s-%d: %w", name, partition, err)
	}
	return machine.Until(ctx, changePatience, fmt.Sprintf("leader of %s-%d to move to %d", name, partition, to), func(ctx context.Context) error {
		topic, err := c.Topic(ctx, name)
		if err != nil {
			return err
		}
		p := topic.Partitions[partition]
		switch {
		case p.Leader == to:
			return nil
		case !slices.Equal(p.Replicas, want) || !slices.Contains(p.ISR, to):
			return fmt.Errorf("replicas are %v, in sync %v", p.Replicas, p.ISR)
		}
		if err := c.electPreferred(ctx, name, partition); err != nil {
			return err
		}
		return fmt.Errorf("leader is %d", p.Leader)
	})
}

func (c *Cluster) reassign(ctx context.Context, name string, partition int32, replicas []int32) error {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.TimeoutMillis = int32(changePatience.Milliseconds())
	topic := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	topic.Topic = name
	p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
	p.Partition, p.Replicas = partition, replicas
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := c.request(ctx, req)
	if err != nil {
		return err
	}
	answer := resp.(*kmsg.AlterPartitionAssignmentsResponse)
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return err
	}
	return kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode)
}

func (c *Cluster) electPreferred(ctx context.Context, name string, partition int32) error {
	req := kmsg.NewPtrElectLeadersRequest()
	req.TimeoutMillis = int32(changePatience.Milliseconds())
	topic := kmsg.NewElectLeadersRequestTopic()
	topic.Topic, topic.Partitions = name, []int32{partition}
	req.Topics = append(req.Topics, topic)
	resp, err := c.request(ctx, req)
	if err != nil {
		return err
	}
	answer := resp.(*kmsg.ElectLeadersResponse)
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return err
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			// Not needed means that it happened already: by the broker's own doing, or by our last try.
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil && !errors.Is(err, kerr.ElectionNotNeeded) {
				return err
			}
		}
	}
	return nil
}
