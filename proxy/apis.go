package proxy

import "github.com/twmb/franz-go/pkg/kmsg"

// A rule says what a node does with requests of one API.
type rule uint8

const (
	rulePass    rule = iota // bytes through on the pinned upstream, never looked into
	ruleGuard               // looked at where partitions are not clean; else bytes through
	ruleRewrite             // passed on; the answer is decoded, rewritten and encoded
	ruleServe               // answered in process, by the target or by the proxy itself
	ruleHide                // not advertised; who sends it loses the connection
)

// An api is a row of the table: what is done with one API key, and why.
type api struct {
	key    kmsg.Key
	legacy rule  // on a legacy node
	target rule  // on the target node
	max    int16 // highest version advertised; -1: kmsg's
	why    string
}

// apiOf is the row of a key; ok is false for a key that nobody knows.
func apiOf(key int16) (a api, ok bool) { return api{}, false }

// advertised tells whether a client may send this version of an API: the row
// doesn't hide it and kmsg knows the version. What legacy itself supports is
// for legacy to say.
func advertised(key, version int16) bool { return false }
