package raw

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Metadata asks for topics by name; for none when none is given.
func (c *Conn) Metadata(ctx context.Context, topics ...string) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none; nil would be all
	for _, name := range topics {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, topic)
	}
	resp, err := c.Request(ctx, req)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.MetadataResponse), nil
}

// LeaderAddr returns the address that a server tells clients to go to for a partition, and the node id there.
func (c *Conn) LeaderAddr(ctx context.Context, topic string, partition int32) (addr string, node int32, err error) {
	metadata, err := c.Metadata(ctx, topic)
	if err != nil {
		return "", -1, err
	}
	for _, p := range metadata.Topics[0].Partitions {
		if p.Partition != partition {
			continue
		}
		for _, b := range metadata.Brokers {
			if b.NodeID == p.Leader {
				return fmt.Sprintf("%s:%d", b.Host, b.Port), b.NodeID, nil
			}
		}
	}
	return "", -1, fmt.Errorf("find leader of %s-%d: none is shown", topic, partition)
}
