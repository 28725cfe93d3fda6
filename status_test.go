package hubferry_test

import (
	"encoding/json"
	"testing"

	"github.com/hubferry/hubferry"
)

func TestStates(t *testing.T) {
	for s, want := range map[hubferry.State]string{
		hubferry.Starting: `"starting"`, hubferry.Running: `"running"`, hubferry.Retrying: `"retrying"`,
		hubferry.Paused: `"paused"`, hubferry.Stopped: `"stopped"`, hubferry.Failed: `"failed"`, hubferry.State(99): `"unknown"`,
	} {
		got, err := json.Marshal(s)
		if err != nil || string(got) != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}
