// Go's centrifuge, as Centrifugo embeds it: a channel for each client, memory broker, no history; one goroutine
// publishes to all channels in turn. It merges what waits for a client into one WebSocket message by itself.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/centrifugal/centrifuge"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	var task [3]int // events, clients, burst
	for i := range task {
		number, err := strconv.Atoi(os.Args[i+1])
		check(err)
		task[i] = number
	}
	var pieces [3]string
	check(json.Unmarshal([]byte(os.Args[4]), &pieces))
	node, err := centrifuge.New(centrifuge.DefaultConfig)
	check(err)
	names := make(chan string, task[1])
	var waiting int64
	node.OnConnecting(func(_ context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{UserID: e.Name},
			Subscriptions: map[string]centrifuge.SubscribeOptions{e.Name: {}},
		}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnRPC(func(_ centrifuge.RPCEvent, done centrifuge.RPCCallback) {
			done(centrifuge.RPCReply{}, nil)
			names <- client.UserID()
			if atomic.AddInt64(&waiting, 1) == int64(task[1]) {
				close(names)
				go publish(node, names, task, pieces)
			}
		})
	})
	check(node.Run())
	http.Handle("/", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println("port", listener.Addr().(*net.TCPAddr).Port)
	check(http.Serve(listener, nil))
}

func publish(node *centrifuge.Node, names chan string, task [3]int, pieces [3]string) {
	type client struct{ name, end string }
	var clients []client
	for name := range names {
		clients = append(clients, client{name, strings.Replace(pieces[2], "@NAME@", name, 1)})
	}
	for said := 0; said < task[0]; said += task[2] {
		for _, client := range clients {
			for n := said + 1; n <= said+task[2]; n++ {
				number := strconv.Itoa(n)
				_, err := node.Publish(client.name, []byte(pieces[0]+number+pieces[1]+number+client.end))
				check(err)
			}
		}
	}
}
