package clients

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchback/e2e/history"
)

func TestLogCountsLevels(t *testing.T) {
	l, err := newLog(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for line := range strings.Lines("12:00:00.000 INFO Client: WARN is a word\n12:00:00.001 WARN Client: slow\njava.lang.Error ERROR no\n\tat X.y(X.java)\n12:00:00.002 ERROR Client: gone\n") {
		l.line([]byte(strings.TrimSuffix(line, "\n")))
	}
	// "java.lang.Error ERROR no" has a level as its second word: counted, rather than missed.
	if l.Count("INFO") != 1 || l.Count("WARN") != 1 || l.Count("ERROR") != 2 || l.Above() != 3 {
		t.Fatalf("%v", l.count)
	}
	if got := l.Since(2); !strings.Contains(got, "gone") || strings.Contains(got, "slow") {
		t.Fatal(got)
	}
}

func TestPulseKeepsTheLongestGap(t *testing.T) {
	var p Pulse
	at := time.Unix(1000, 0)
	for _, ms := range []int{0, 10, 250, 260, 255, 300} {
		p.Beat(at.Add(time.Duration(ms) * time.Millisecond))
	}
	if gap, began := p.Longest(); gap != 240*time.Millisecond || !began.Equal(at.Add(10*time.Millisecond)) || p.Beats() != 6 {
		t.Fatal(gap, began, p.Beats())
	}
	p.Reset()
	p.Beat(at.Add(400 * time.Millisecond))
	if gap, _ := p.Longest(); gap != 100*time.Millisecond {
		t.Fatalf("a gap over a reset is %v, want it to count from the last beat", gap)
	}
}

func TestValuesNameTheirRecords(t *testing.T) {
	m := history.Mark{Producer: "a.b", Number: 12}
	got, err := ParseValue(Value(m))
	if err != nil || got != m {
		t.Fatal(got, err)
	}
	for _, bad := range []string{"", "12", "a.", "a.x"} {
		if _, err := ParseValue(bad); err == nil {
			t.Errorf("%q is a mark", bad)
		}
	}
}

func TestPerformanceIsRead(t *testing.T) {
	out := "100 records sent, 19.8 records/sec (0.00 MB/sec), 1.0 ms avg latency, 9.0 ms max latency.\n" +
		"2000 records sent, 6451.6 records/sec (0.62 MB/sec), 30.12 ms avg latency, 240.00 ms max latency, 29 ms 50th, 60 ms 95th, 61 ms 99th, 61 ms 99.9th.\n"
	p, err := parsePerformance(out)
	if err != nil || p.Records != 2000 || p.RecordsPerSecond != 6451.6 || p.AverageMillis != 30.12 || p.MaxMillis != 240 {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := parsePerformance("no result"); err == nil {
		t.Error("read a result where there is none")
	}
}

// TestWhatClientsSayIsRecorded plays a client's lines.
func TestWhatClientsSayIsRecorded(t *testing.T) {
	var h history.History
	p := &process{name: "c"}
	for line := range strings.Lines(`{"timestamp":1000,"name":"startup_complete"}
{"timestamp":1001,"name":"partitions_assigned","partitions":[{"topic":"t","partition":0}]}
{"timestamp":1002,"name":"record_data","key":null,"value":"7.0","topic":"t","partition":0,"offset":0}
{"timestamp":1003,"name":"records_consumed","count":1,"partitions":[{"topic":"t","partition":0,"count":1,"minOffset":0,"maxOffset":0}]}
{"timestamp":1004,"name":"offsets_committed","offsets":[{"topic":"t","partition":0,"offset":1}],"success":true}
{"timestamp":1005,"name":"offsets_committed","offsets":[],"error":"no","success":false}
`) {
		if err := p.tellConsumer(&h, "g", []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	producer := &process{name: "7"}
	for line := range strings.Lines(`{"timestamp":1000,"name":"producer_send_success","key":null,"value":"7.0","topic":"t","partition":0,"offset":0}
{"timestamp":1001,"name":"producer_send_error","key":null,"value":"7.1","topic":"t","exception":"class X","message":"gone"}
`) {
		if err := producer.tellProducer(&h, []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	place := history.Place{Topic: "t"}
	report := h.Check(map[history.Place][]history.Logged{place: {{Offset: 0, Mark: history.Mark{Producer: "7"}}}}, "g")
	if report.Acked != 1 || report.Reads != 1 || report.Commits != 1 || report.Counts[history.Failed] != 2 || len(report.Counts) != 1 {
		t.Fatal(report)
	}
	if h.Assignments("g") != 1 || h.Reached("g", place) != 1 {
		t.Fatal("assignments or commits were not recorded")
	}
	if err := producer.tellProducer(&h, []byte("Exception in thread main")); err == nil {
		t.Error("a line that is no event is no error")
	}
}
