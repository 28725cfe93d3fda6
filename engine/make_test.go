package engine_test

import (
	"context"
	"testing"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
)

// making is a target that makes the hub it is to write to.
type making struct {
	hubferry.Target
	broker    *mem.Broker
	namespace string
	made      []hubferry.Blueprint
}

func (m *making) Make(ctx context.Context, hub string, like func(ctx context.Context) (hubferry.Blueprint, error)) error {
	b, err := like(ctx)
	if err != nil {
		return err
	}
	m.made = append(m.made, b)
	m.broker.Create(m.namespace, hub, mem.HubOptions{Partitions: b.Partitions})
	return nil
}

// describing is a source that says more of its hub.
type describing struct{ hubferry.Source }

func (describing) Describe(context.Context, string) (hubferry.Blueprint, error) {
	return hubferry.Blueprint{Service: "mem", Partitions: 5, Settings: map[string]string{"a": "1"}}, nil
}

// A target is told how the source's hub is made before it is opened.
func TestTargetIsMadeLikeTheSource(t *testing.T) {
	for name, want := range map[string]hubferry.Blueprint{
		"described":       {Service: "mem", Partitions: 5, Settings: map[string]string{"a": "1"}},
		"partitions only": {Partitions: 3},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 3, 1)
				m := &making{Target: r.task.Routes[0].Target, broker: r.broker, namespace: "east"}
				r.task.Routes[0].Target, r.task.Routes[0].Hub = m, "new"
				if want.Service != "" {
					r.task.Source = describing{r.task.Source}
				}
				x := r.start()
				r.drained(x)
				x.finish()
				if len(m.made) != 1 || m.made[0].Partitions != want.Partitions || m.made[0].Service != want.Service || len(m.made[0].Settings) != len(want.Settings) {
					t.Errorf("made %+v, want %+v", m.made, want)
				}
			})
		})
	}
}
