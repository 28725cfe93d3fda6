package hub_test

import (
	"context"
	"fmt"
	"net"

	"github.com/hubferry/hubferry/hub"
)

// A server with one namespace in memory, on a port of the kernel's choice.
func Example() {
	ctx := context.Background()
	server, err := hub.New(ctx, hub.Options{
		Namespaces: []hub.NamespaceOptions{{
			Name: "west",
			Hubs: []hub.HubOptions{{Name: "telemetry", Partitions: 8}},
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, ln, "west") }()

	// Any SDK reaches it now, with a connection string like
	//
	//	Endpoint=sb://127.0.0.1:PORT;SharedAccessKeyName=RootManageSharedAccessKey;
	//	SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;EntityPath=telemetry
	hubs, err := server.Hubs("west")
	fmt.Println(hubs[0].Name, hubs[0].Partitions, err)

	fmt.Println(server.Close(ctx))
	fmt.Println(<-served)
	// Output:
	// telemetry 8 <nil>
	// <nil>
	// hub: server closed
}
