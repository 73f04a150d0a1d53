package broker

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs: v1-4
//
// Of this node only: type BROKER, named by its id. Topics' configs stay with
// legacy, so any other resource is INVALID_REQUEST here. Everything is read-only:
// it is set where the target is started.
//
// Version notes:
//   - v1: synonyms and source
//   - v3: type and documentation
//   - v4: flexible

// A nodeConfig is one line of the answer.
type nodeConfig struct {
	name  string
	typ   kmsg.ConfigType
	set   bool // by the operator, rather than a default
	value string
	doc   string
}

// nodeConfigs is what tools look for in a broker, as far as it is true here.
func (b *Broker) nodeConfigs() []nodeConfig {
	dir, err := filepath.Abs(b.cfg.Dir)
	if err != nil {
		dir = b.cfg.Dir
	}
	id := strconv.Itoa(int(b.cfg.NodeID))
	return []nodeConfig{
		{"auto.create.topics.enable", kmsg.ConfigTypeBoolean, false, "false", "Topics come from the legacy cluster."},
		{"broker.id", kmsg.ConfigTypeInt, true, id, "The id of this node."},
		{"default.replication.factor", kmsg.ConfigTypeInt, false, "1", "One log per partition; the legacy cluster holds the copy."},
		{"delete.topic.enable", kmsg.ConfigTypeBoolean, false, "true", "Topics are deleted when the legacy cluster deletes them."},
		{"fetch.max.bytes", kmsg.ConfigTypeInt, false, strconv.Itoa(int(b.cfg.FetchMaxBytes)), "The most that one fetch returns."},
		{"log.dirs", kmsg.ConfigTypeString, true, dir, "The data folder."},
		{"log.flush.interval.messages", kmsg.ConfigTypeLong, false, "1", "Everything is on disk before it is acknowledged."},
		{"message.max.bytes", kmsg.ConfigTypeInt, false, strconv.Itoa(defaultMaxMessageBytes), "The largest batch, where the topic does not say otherwise."},
		{"min.insync.replicas", kmsg.ConfigTypeInt, false, "1", "One log per partition."},
		{"node.id", kmsg.ConfigTypeInt, true, id, "The id of this node."},
		{"num.partitions", kmsg.ConfigTypeInt, false, "1", "Not used: topics come from the legacy cluster."},
	}
}

func (b *Broker) describeConfigs(req *kmsg.DescribeConfigsRequest, done func(Reply)) {
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for _, ask := range req.Resources {
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = ask.ResourceType, ask.ResourceName
		if why := b.notThisNode(ask); why != "" {
			r.ErrorCode, r.ErrorMessage = kerr.InvalidRequest.Code, kmsg.StringPtr(why)
		} else if ask.ResourceName != "" { // "" is the cluster's dynamic default: there is none
			for _, c := range b.nodeConfigs() {
				if len(ask.ConfigNames) == 0 || slices.Contains(ask.ConfigNames, c.name) {
					r.Configs = append(r.Configs, c.describe(req))
				}
			}
		}
		resp.Resources = append(resp.Resources, r)
	}
	done(Reply{Message: resp})
}

// notThisNode says why a resource is not described here, in Kafka's words.
func (b *Broker) notThisNode(r kmsg.DescribeConfigsRequestResource) string {
	if r.ResourceType != kmsg.ConfigResourceTypeBroker {
		return fmt.Sprintf("Unsupported resource type: %v", r.ResourceType)
	}
	if r.ResourceName != "" && r.ResourceName != strconv.Itoa(int(b.cfg.NodeID)) {
		return fmt.Sprintf("Unexpected broker id, expected %d or empty string, but received %s", b.cfg.NodeID, r.ResourceName)
	}
	return ""
}

func (c nodeConfig) describe(req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value, out.ReadOnly, out.ConfigType = c.name, kmsg.StringPtr(c.value), true, c.typ
	out.IsDefault = !c.set
	out.Source = kmsg.ConfigSourceDefaultConfig
	if c.set {
		out.Source = kmsg.ConfigSourceStaticBrokerConfig
	}
	if req.IncludeSynonyms {
		s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		s.Name, s.Value, s.Source = out.Name, out.Value, out.Source
		out.ConfigSynonyms = append(out.ConfigSynonyms, s)
	}
	if req.IncludeDocumentation {
		out.Documentation = kmsg.StringPtr(c.doc)
	}
	return out
}
