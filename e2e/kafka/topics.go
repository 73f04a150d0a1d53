package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"switchback/e2e/machine"
)

// changePatience bounds how long the cluster may take to carry out a change of a topic.
const changePatience = 30 * time.Second

// CreateTopic makes a topic and waits until every broker that serves knows a leader for every partition.
func (c *Cluster) CreateTopic(ctx context.Context, name string, partitions int32, replicas int16, configs map[string]string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, replicas
	for _, key := range slices.Sorted(maps.Keys(configs)) {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = key, kmsg.StringPtr(configs[key])
		topic.Configs = append(topic.Configs, config)
	}
	req.Topics = append(req.Topics, topic)
	req.TimeoutMillis = int32(changePatience.Milliseconds())
	resp, err := c.request(ctx, req)
	if err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	answer := resp.(*kmsg.CreateTopicsResponse).Topics[0]
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	return c.awaitLeaders(ctx, name, partitions)
}

func (c *Cluster) awaitLeaders(ctx context.Context, name string, partitions int32) error {
	return machine.Until(ctx, changePatience, "leaders of "+name, func(ctx context.Context) error {
		for _, b := range c.brokers {
			if !b.Alive() || b.paused.Load() {
				continue
			}
			metadata, err := b.Metadata(ctx, name)
			if err != nil {
				return err
			}
			leaders := 0
			for _, p := range metadata.Topics[0].Partitions {
				if p.Leader >= 0 && p.ErrorCode == 0 {
					leaders++
				}
			}
			if leaders != int(partitions) {
				return fmt.Errorf("broker %d knows %d leaders of %d", b.ID(), leaders, partitions)
			}
		}
		return nil
	})
}

// DeleteTopic deletes a topic.
func (c *Cluster) DeleteTopic(ctx context.Context, name string) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = kmsg.StringPtr(name)
	req.Topics, req.TopicNames = append(req.Topics, topic), []string{name}
	req.TimeoutMillis = int32(changePatience.Milliseconds())
	resp, err := c.request(ctx, req)
	if err != nil {
		return fmt.Errorf("delete topic %s: %w", name, err)
	}
	if err := kerr.ErrorForCode(resp.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode); err != nil {
		return fmt.Errorf("delete topic %s: %w", name, err)
	}
	return nil
}

// Topic returns what the cluster says about a topic: its id, and leader, epoch and replicas of every partition.
func (c *Cluster) Topic(ctx context.Context, name string) (kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(name)
	req.Topics = append(req.Topics, topic)
	resp, err := c.request(ctx, req)
	if err != nil {
		return kmsg.MetadataResponseTopic{}, fmt.Errorf("describe topic %s: %w", name, err)
	}
	answer := resp.(*kmsg.MetadataResponse).Topics[0]
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return kmsg.MetadataResponseTopic{}, fmt.Errorf("describe topic %s: %w", name, err)
	}
	slices.SortFunc(answer.Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return int(a.Partition - b.Partition) })
	return answer, nil
}

// Topics returns the names of all topics that a broker knows, internal ones included.
func (c *Cluster) Topics(ctx context.Context) ([]string, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = nil // all
	resp, err := c.request(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	var names []string
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		names = append(names, *t.Topic)
	}
	slices.Sort(names)
	return names, nil
}

// Leader returns the node id of a partition's leader, -1 when there is none.
func (c *Cluster) Leader(ctx context.Context, name string, partition int32) (int32, error) {
	topic, err := c.Topic(ctx, name)
	if err != nil {
		return -1, err
	}
	if int(partition) >= len(topic.Partitions) {
		return -1, fmt.Errorf("find leader of %s-%d: no such partition", name, partition)
	}
	return topic.Partitions[partition].Leader, nil
}

// SetTopicConfig sets one setting of a topic; an empty value goes back to the default.
func (c *Cluster) SetTopicConfig(ctx context.Context, name, key, value string) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, name
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = key, kmsg.StringPtr(value)
	if value == "" {
		config.Op, config.Value = kmsg.IncrementalAlterConfigOpDelete, nil
	}
	resource.Configs = append(resource.Configs, config)
	req.Resources = append(req.Resources, resource)
	resp, err := c.request(ctx, req)
	if err != nil {
		return fmt.Errorf("set %s of %s: %w", key, name, err)
	}
	if err := kerr.ErrorForCode(resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode); err != nil {
		return fmt.Errorf("set %s of %s: %w", key, name, err)
	}
	return nil
}
