package e2e

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/hubferry/hubferry/internal/kafkatest"
)

// faultTime is how long TestKafkaFaults goes on. HUBFERRY_FAULTS sets another time, such
// as 5m.
func faultTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("HUBFERRY_FAULTS")
	if text == "" {
		return 20 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestKafkaFaults has three instances move two topics under load, by three tasks: at least
// once and effectively once within a cluster, and effectively once to another one. The
// instances join, leave and are killed in turn, one is frozen for longer than its session
// and goes on when others have its partitions, and the brokers are stopped and killed.
// Nothing is lost and no key is out of order (INV-2, INV-3, INV-4). Who reads what is
// committed sees no event of a transaction twice, whatever became of its writer (G-12).
func TestKafkaFaults(t *testing.T) {
	a, b := kafkatest.Start(t, kafkatest.Options{}), kafkatest.Start(t, kafkatest.Options{})
	topics := []string{"in.orders", "in.clicks"}
	client := kafkaClient(t, a.Addr(), kgo.RecordDeliveryTimeout(0), kgo.UnknownTopicRetries(-1), kgo.ProducerLinger(5*time.Millisecond))
	for cl, prefixes := range map[*kgo.Client][]string{client: {"", "least.", "once."}, kafkaClient(t, b.Addr()): {"across."}} {
		for _, prefix := range prefixes {
			if _, err := kadm.NewClient(cl).CreateTopics(t.Context(), 6, 1, nil, prefix+topics[0], prefix+topics[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	config := filepath.Join(t.TempDir(), "hubferry.yaml")
	err := os.WriteFile(config, fmt.Appendf(nil, `version: 1
connections:
  a: { kafka: { brokers: ["%s"], deliveryTimeout: 10s } }
  b: { kafka: { brokers: ["%s"], deliveryTimeout: 10s } }
defaults:
  retry: { min: 200ms, max: 2s }
tasks:
  least:
    source: { topics: 'a/in\..*', sessionTimeout: 6s, rebalanceTimeout: 20s }
    target: "a/least.{topic}"
  once:
    source: { topics: 'a/in\..*', sessionTimeout: 6s, rebalanceTimeout: 20s }
    target: "a/once.{topic}"
    delivery: effectively-once
  across:
    source: { topics: 'a/in\..*', sessionTimeout: 6s, rebalanceTimeout: 20s }
    target: "b/across.{topic}"
    delivery: effectively-once
`, a.Addr(), b.Addr()), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	load := startLoadOf(t, client, topics)
	restart := func(end func(*kafkatest.Broker) error, brokers ...*kafkatest.Broker) func() error {
		return func() error {
			var group errgroup.Group
			for _, broker := range brokers {
				group.Go(func() error { return cmp.Or(end(broker), broker.Start(t.Context())) })
			}
			return group.Wait()
		}
	}
	disturb(t, config, faultTime(t), restart((*kafkatest.Broker).Stop, a), restart((*kafkatest.Broker).Kill, a, b))
	sent := load.stop(t)
	last := startRun(t, config)
	var judges []*keyJudge
	for _, topic := range topics {
		judges = append(judges,
			judgeKeys(t, a.Addr(), "least."+topic, sent[topic]),
			judgeKeys(t, a.Addr(), "once."+topic, sent[topic]),
			judgeKeys(t, b.Addr(), "across."+topic, sent[topic]))
	}
	last.stop()
	for _, j := range judges {
		v := j.verdict(t)
		t.Logf("%s: %+v", j.topic, v)
		if v.lost > 0 || v.reordered > 0 {
			t.Errorf("%s: %+v", j.topic, v)
		}
		if v.duplicates > 0 && !strings.HasPrefix(j.topic, "least.") {
			t.Errorf("%s: %d duplicates are committed", j.topic, v.duplicates)
		}
	}
}

// disturb has instances join, leave, be killed and be frozen in turn, at least for a round
// of these, and restarts brokers meanwhile.
func disturb(t *testing.T, config string, lasts time.Duration, restarts ...func() error) {
	t.Helper()
	const pause = 2500 * time.Millisecond // three of them are longer than a session
	began, broken := time.Now(), 0
	x := []*runner{startRun(t, config), startRun(t, config), startRun(t, config)}
	for round := 0; round == 0 || time.Since(began) < lasts; round++ {
		zombie, leaver, victim := round%3, (round+1)%3, (round+2)%3
		for _, step := range []func(){
			func() { x[zombie].signal(syscall.SIGSTOP) },
			func() { x[leaver].stop() },
			func() { x[leaver] = startRun(t, config) },
			func() { x[zombie].signal(syscall.SIGCONT) },
			func() { x[victim].kill() },
			func() { x[victim] = startRun(t, config) },
		} {
			time.Sleep(pause)
			step()
			if done := float64(time.Since(began)) / float64(lasts); broken < len(restarts) && done > float64(broken+1)/float64(len(restarts)+1) {
				if err := restarts[broken](); err != nil {
					t.Fatal(err)
				}
				broken++
			}
		}
	}
	for i := range x {
		x[i].kill()
	}
	if broken < len(restarts) {
		t.Errorf("brokers were restarted %d times, not %d", broken, len(restarts))
	}
}

// signal sends a signal to the process.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// keyLoad produces numbered records of some keys.
type keyLoad struct {
	cancel context.CancelFunc
	done   chan map[string]map[string]int // by topic and key: how many
}

func startLoadOf(t *testing.T, client *kgo.Client, topics []string) *keyLoad {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &keyLoad{cancel, make(chan map[string]map[string]int, 1)}
	go func() {
		sent := map[string]map[string]int{}
		for _, topic := range topics {
			sent[topic] = map[string]int{}
		}
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; <-tick.C {
			for range 10 {
				n++
				topic, key := topics[n%len(topics)], fmt.Sprint("key-", n%97)
				value := fmt.Sprintf("%s#%d", key, sent[topic][key])
				sent[topic][key]++
				client.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}, func(_ *kgo.Record, err error) {
					if err != nil {
						t.Errorf("produce: %v", err)
					}
				})
			}
		}
		l.done <- sent
	}()
	t.Cleanup(cancel)
	return l
}

// stop ends the load and returns what was produced.
func (l *keyLoad) stop(t *testing.T) map[string]map[string]int {
	t.Helper()
	l.cancel()
	return <-l.done
}
