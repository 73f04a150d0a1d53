package broker

import (
	"path/filepath"
	"slices"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeLogDirs: v1-5
//
// One directory: the data folder. A partition's size is the size of its batches;
// they share segments with others on disk, so the sizes need not add up to what
// the folder takes. Topics that are not known are left out, as in Kafka.
//
// Version notes:
//   - v2: flexible
//   - v3: error code of the whole answer
//   - v4: total and usable bytes (KIP-827)
//   - v5: cordoned directories (KIP-1066): never

func (b *Broker) describeLogDirs(req *kmsg.DescribeLogDirsRequest, done func(Reply)) {
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	resp.Dirs = append(resp.Dirs, b.logDir(req))
	done(Reply{Message: resp})
}

func (b *Broker) logDir(req *kmsg.DescribeLogDirsRequest) kmsg.DescribeLogDirsResponseDir {
	d := kmsg.NewDescribeLogDirsResponseDir()
	d.Dir, d.TotalBytes, d.UsableBytes = b.cfg.Dir, -1, -1
	if abs, err := filepath.Abs(b.cfg.Dir); err == nil {
		d.Dir = abs
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.Dir, &fs); err != nil {
		b.log.Warn("cannot describe the data folder", "dir", d.Dir, "error", err)
		d.ErrorCode = kerr.KafkaStorageError.Code
		return d
	}
	d.TotalBytes = int64(fs.Blocks) * int64(fs.Bsize)
	d.UsableBytes = int64(fs.Bavail) * int64(fs.Bsize)
	if req.Topics == nil {
		for _, t := range b.topics.all() {
			d.Topics = appendLogs(d.Topics, t, nil)
		}
		return d
	}
	for _, ask := range req.Topics {
		d.Topics = appendLogs(d.Topics, b.topics.find(ask.Topic, [16]byte{}, false), ask.Partitions)
	}
	return d
}

// appendLogs describes the partitions of t that were asked for, all for nil.
func appendLogs(list []kmsg.DescribeLogDirsResponseDirTopic, t *topic, asked []int32) []kmsg.DescribeLogDirsResponseDirTopic {
	if t == nil {
		return list
	}
	out := kmsg.NewDescribeLogDirsResponseDirTopic()
	out.Topic = t.Name
	for i, l := range t.logs {
		if asked != nil && !slices.Contains(asked, int32(i)) {
			continue
		}
		p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		p.Partition, p.Size = int32(i), l.Size()
		out.Partitions = append(out.Partitions, p)
	}
	if len(out.Partitions) == 0 {
		return list
	}
	return append(list, out)
}
