package proxy

import (
	"switchback/offsets"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// rewriteDescribeTopicPartitions (key 75, version 0) shows relocated and shifted
// partitions as clients are to see them. The answer names no address, and its
// cursor is legacy's: every topic exists there.
func rewriteDescribeTopicPartitions(resp *kmsg.DescribeTopicPartitionsResponse, e endpoints) {
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			leader, epoch := e.shown(offsets.Partition{Topic: t.TopicID, Index: p.Partition}, p.LeaderEpoch)
			p.LeaderEpoch = epoch
			if leader >= 0 {
				p.LeaderID, p.ErrorCode = leader, codeNone
			}
		}
	}
}
