package proxy

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// rewriteApiVersions (key 18, versions 0 to 4) intersects legacy's answer with
// the table of APIs, so that no client speaks a version that we would not
// understand when it matters. Features are as legacy says.
//
// Produce keeps the lowest version that legacy shows, which is 0 also on brokers
// that refuse it: librdkafka turns compression off where it isn't (KAFKA-18659).
func rewriteApiVersions(resp *kmsg.ApiVersionsResponse) {
	resp.ApiKeys = slices.DeleteFunc(slices.Clone(resp.ApiKeys), func(k kmsg.ApiVersionsResponseApiKey) bool {
		lowest, highest := advertisedRange(k.ApiKey)
		return max(k.MinVersion, lowest) > min(k.MaxVersion, highest)
	})
	for i := range resp.ApiKeys {
		k := &resp.ApiKeys[i]
		lowest, highest := advertisedRange(k.ApiKey)
		k.MaxVersion = min(k.MaxVersion, highest)
		if k.ApiKey != int16(kmsg.Produce) {
			k.MinVersion = max(k.MinVersion, lowest)
		}
	}
}

// unsupportedApiVersions answers an ApiVersions request of a version that we
// don't advertise: always in version 0, with the range to try (KIP-511). legacy
// is what legacy advertises, as Snapshot has it; it may be nil.
func unsupportedApiVersions(legacy *kmsg.ApiVersionsResponse) *kmsg.ApiVersionsResponse {
	resp := offlineApiVersions(0, legacy)
	resp.ErrorCode = codeUnsupportedVersion
	return resp
}

// offlineApiVersions answers an ApiVersions request from what legacy advertised
// last. Without that only ApiVersions itself is offered.
func offlineApiVersions(version int16, legacy *kmsg.ApiVersionsResponse) *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	if legacy != nil {
		*resp = *legacy
		resp.ThrottleMillis = 0
	} else {
		own := kmsg.NewApiVersionsResponseApiKey()
		own.ApiKey, own.MaxVersion = int16(kmsg.ApiVersions), resp.MaxVersion()
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{own}
	}
	resp.Version = version
	rewriteApiVersions(resp)
	return resp
}
