package proxy

import "github.com/twmb/franz-go/pkg/kmsg"

// rewriteApiVersions intersects legacy's answer with the table of APIs.
func rewriteApiVersions(resp *kmsg.ApiVersionsResponse) {}

// unsupportedApiVersions is the answer, always in version 0 (KIP-511), to an
// ApiVersions request of a version that we don't advertise. legacy is what legacy
// advertises, as Topology knows it.
func unsupportedApiVersions(legacy *kmsg.ApiVersionsResponse) *kmsg.ApiVersionsResponse { return nil }

// offlineApiVersions answers an ApiVersions request from what legacy advertised
// last.
func offlineApiVersions(version int16, legacy *kmsg.ApiVersionsResponse) *kmsg.ApiVersionsResponse {
	return nil
}
