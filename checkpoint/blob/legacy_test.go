package blob

import (
	"errors"
	"strings"
	"testing"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/azuritetest"
)

func TestParseLegacy(t *testing.T) {
	tests := []struct {
		name, text string
		want       hubferry.Position
		wantErr    string
	}{
		{"Functions 4, .NET", `{"PartitionId":"3","Owner":"g","Token":"t","Epoch":41,"Offset":"77309411","SequenceNumber":5120}`, hubferry.Position{Sequence: 5120, Offset: "77309411"}, ""},
		{"never checkpointed", `{"PartitionId":"3","Owner":"g","Token":"t","Epoch":1,"Offset":null,"SequenceNumber":0}`, hubferry.Position{}, errNoCheckpoint.Error()},
		{"empty offset", `{"Offset":"","SequenceNumber":7}`, hubferry.Position{}, errNoCheckpoint.Error()},
		{"start of the stream", `{"Offset":"-1","SequenceNumber":0}`, hubferry.Position{}, errNoCheckpoint.Error()},
		{"Java", `{"offset":"96","sequenceNumber":12,"partitionId":"0"}`, hubferry.Position{Sequence: 12, Offset: "96"}, ""},
		{"Python 1", `{"partition_id":"0","Offset":"96","sequence_number":12}`, hubferry.Position{Sequence: 12, Offset: "96"}, ""},
		{"Go 3, Dapr", `{"partitionID":"0","epoch":2,"owner":"o","checkpoint":{"offset":"96","sequenceNumber":12,"enqueueTime":""},"state":"x"}`, hubferry.Position{Sequence: 12, Offset: "96"}, ""},
		{"no JSON", `lease`, hubferry.Position{}, errNoCheckpoint.Error()},
		{"no object", `[1]`, hubferry.Position{}, errNoCheckpoint.Error()},
		{"no number", `{"Offset":"96","SequenceNumber":"x"}`, hubferry.Position{}, "is no number"},
		{"no sequence number", `{"Offset":"96"}`, hubferry.Position{}, "no sequence number"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseLegacy([]byte(tt.text))
			if got != tt.want || (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %+v, %v; want %+v, %s", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func TestLegacyName(t *testing.T) {
	for name, want := range map[string]string{
		"Contoso.servicebus.windows.net": "contoso.servicebus.windows.net",
		"a b/c":                          "a:20b:2Fc",
		"ü€":                             ":FC::20AC",
	} {
		if got := legacyName(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// TestLegacy reads what older processors would have left in a container.
func TestLegacy(t *testing.T) {
	s := open(t, Options{
		Container: "azure-webjobs-eventhub", CreateContainer: true,
		ConnectionString: hubferry.NewSecret(azuritetest.ConnectionString(service(t))),
	}, hubferry.Env{})
	put := func(name, text string) {
		t.Helper()
		if _, err := s.upload(t.Context(), name, nil, []byte(text), nil); err != nil {
			t.Fatal(err)
		}
	}
	lease := func(offset string) string { return `{"Offset":"` + offset + `","SequenceNumber":12}` }
	put("contoso.example/my:20hub/$Default/0", lease("96"))
	put("contoso.example/my:20hub/$Default/1", `{"Offset":null,"SequenceNumber":0}`)
	put("contoso.example/my:20hub/$Default/2", `{"Offset":"96"}`)
	put("contoso.example/my:20hub/$Default/checkpoint/3", lease("97"))
	put("host/$Default/0", lease("98"))
	put("go3/0", lease("99"))
	group := hubferry.ID{Namespace: "contoso.example", Hub: "my hub", ConsumerGroup: "$default"}
	for prefix, want := range map[string]string{"": "96", "host/": "98", "go3/": "99", "nothing/": ""} {
		got, err := s.Legacy(t.Context(), group, prefix)
		if err != nil {
			t.Fatal(err)
		}
		if got["0"].Position.Offset != want {
			t.Errorf("prefix %q: got %+v, want the offset %q", prefix, got, want)
		}
		if prefix != "" {
			continue
		}
		if c := got["2"]; len(got) != 2 || c.Err == nil || errors.Is(c.Err, errNoCheckpoint) || !strings.Contains(c.Err.Error(), "/2: it has the offset") {
			t.Errorf("got %+v, want partition 2 with an error and no others", got)
		}
		if got["0"].Time.IsZero() {
			t.Error("the checkpoint has no time")
		}
	}
}
