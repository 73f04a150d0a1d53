package proxy

import (
	"net"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// rewriteDescribeConfigs (key 32, versions 0 to 4) takes legacy's addresses out
// of the configs of its brokers: listeners get the address of our own listener
// for that node, under their own names; what has no counterpart here (quorum
// voters, ZooKeeper) is null, as Kafka shows what it won't tell.
func rewriteDescribeConfigs(resp *kmsg.DescribeConfigsResponse, e endpoints) {
	for i := range resp.Resources {
		r := &resp.Resources[i]
		if r.ResourceType != kmsg.ConfigResourceTypeBroker {
			continue
		}
		address := ""
		if node, err := strconv.ParseInt(r.ResourceName, 10, 32); err == nil {
			if host, port, ok := e.endpoint(int32(node)); ok {
				address = net.JoinHostPort(host, strconv.Itoa(int(port)))
			}
		}
		for j := range r.Configs {
			c := &r.Configs[j]
			c.Value = withoutAddress(c.Name, c.Value, address)
			for k := range c.ConfigSynonyms {
				c.ConfigSynonyms[k].Value = withoutAddress(c.ConfigSynonyms[k].Name, c.ConfigSynonyms[k].Value, address)
			}
		}
	}
}

// withoutAddress is the value of a broker's config as clients are to see it.
func withoutAddress(name string, value *string, address string) *string {
	if value == nil {
		return nil
	}
	switch strings.TrimPrefix(name, "static.") {
	case "listeners", "advertised.listeners":
		return listenersAt(*value, address)
	case "controller.quorum.voters", "controller.quorum.bootstrap.servers", "zookeeper.connect",
		"advertised.host.name", "advertised.port", "host.name", "port":
		return nil
	}
	return value
}

// listenersAt puts one address behind every listener name of "NAME://host:port,…".
func listenersAt(value, address string) *string {
	if address == "" {
		return nil
	}
	listeners := strings.Split(value, ",")
	for i, l := range listeners {
		name, _, ok := strings.Cut(strings.TrimSpace(l), "://")
		if !ok {
			return nil
		}
		listeners[i] = name + "://" + address
	}
	return kmsg.StringPtr(strings.Join(listeners, ","))
}
