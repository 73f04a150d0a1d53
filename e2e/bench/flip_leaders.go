package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/e2e/kafka"
	"switchback/e2e/machine"
)

// leaderPatience bounds what the cluster may take to change leaders.
const leaderPatience = 30 * time.Second

// prepareLeaderMove makes the next replica of every partition of a topic the preferred one. elect then makes them leaders, all in one request, and
// waits until they are; every broker is alive before, meanwhile and after.
func prepareLeaderMove(ctx context.Context, cluster *kafka.Cluster, topic string) (elect func(context.Context) error, err error) {
	have, err := cluster.Topic(ctx, topic)
	if err != nil {
		return nil, err
	}
	assign := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	assign.TimeoutMillis = int32(leaderPatience.Milliseconds())
	assigned := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	assigned.Topic = topic
	want := map[int32][]int32{}
	for _, p := range have.Partitions {
		next := append(slices.Clone(p.Replicas[1:]), p.Replicas[0])
		want[p.Partition] = next
		part := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		part.Partition, part.Replicas = p.Partition, next
		assigned.Partitions = append(assigned.Partitions, part)
	}
	assign.Topics = append(assign.Topics, assigned)
	if err := ask(ctx, cluster, assign); err != nil {
		return nil, fmt.Errorf("move leaders of %s: %w", topic, err)
	}
	await := func(ctx context.Context, ok func(kmsg.MetadataResponseTopicPartition) bool) error {
		return machine.Until(ctx, leaderPatience, "leaders of "+topic+" to move", func(ctx context.Context) error {
			now, err := cluster.Topic(ctx, topic)
			if err != nil {
				return err
			}
			for _, p := range now.Partitions {
				if !ok(p) {
					return fmt.Errorf("partition %d: leader %d, replicas %v, in sync %v; wanted %v", p.Partition, p.Leader, p.Replicas, p.ISR, want[p.Partition])
				}
			}
			return nil
		})
	}
	err = await(ctx, func(p kmsg.MetadataResponseTopicPartition) bool {
		return slices.Equal(p.Replicas, want[p.Partition]) && slices.Contains(p.ISR, want[p.Partition][0])
	})
	return func(ctx context.Context) error {
		req := kmsg.NewPtrElectLeadersRequest()
		req.TimeoutMillis = int32(leaderPatience.Milliseconds())
		elected := kmsg.NewElectLeadersRequestTopic()
		elected.Topic = topic
		for _, p := range have.Partitions {
			elected.Partitions = append(elected.Partitions, p.Partition)
		}
		req.Topics = append(req.Topics, elected)
		if err := ask(ctx, cluster, req); err != nil {
			return fmt.Errorf("move leaders of %s: %w", topic, err)
		}
		return await(ctx, func(p kmsg.MetadataResponseTopicPartition) bool { return p.Leader == want[p.Partition][0] })
	}, err
}

// ask sends a request to the cluster; an error that its answer names for any partition is an error.
func ask(ctx context.Context, cluster *kafka.Cluster, req kmsg.Request) error {
	conn, err := cluster.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	resp, err := conn.Request(ctx, req)
	if err != nil {
		return err
	}
	var errs []error
	switch resp := resp.(type) {
	case *kmsg.AlterPartitionAssignmentsResponse:
		errs = append(errs, kerr.ErrorForCode(resp.ErrorCode))
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				errs = append(errs, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	case *kmsg.ElectLeadersResponse:
		errs = append(errs, kerr.ErrorForCode(resp.ErrorCode))
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				errs = append(errs, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	}
	return errors.Join(errs...)
}
