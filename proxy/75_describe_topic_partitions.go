package proxy

import "github.com/twmb/franz-go/pkg/kmsg"

// rewriteDescribeTopicPartitions shows relocated and shifted partitions as
// clients are to see them. The answer names no address.
func rewriteDescribeTopicPartitions(resp *kmsg.DescribeTopicPartitionsResponse, e endpoints) {}
