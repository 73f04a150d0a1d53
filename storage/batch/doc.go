// Package batch reads and patches the header of a Kafka RecordBatch v2 (KIP-98).
//
// It promises never to copy or change record bytes, never to allocate on the
// paths that walk or patch, and never to panic or to read outside the slice it
// is given, whatever the slice holds. It does not decompress, package codec does:
// what is inside of a compressed batch is the business of whoever looks at records.
//
// The layout, big endian; the CRC covers everything from Attributes on, so the
// first three fields can be patched without touching it:
//
//	 0 BaseOffset      int64
//	 8 Length          int32  bytes after this field
//	12 LeaderEpoch     int32
//	16 Magic           int8   2
//	17 CRC             uint32 CRC-32C of all that follows
//	21 Attributes      int16  codec 0-2, log append time 3, transactional 4, control 5, delete horizon 6
//	23 LastOffsetDelta int32
//	27 FirstTimestamp  int64
//	35 MaxTimestamp    int64
//	43 ProducerID      int64
//	51 ProducerEpoch   int16
//	53 BaseSequence    int32
//	57 NumRecords      int32
//	61 records
//
// The package starts no goroutine and keeps no state.
package batch
