package proxy_test

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/crypto/ssh"

	"github.com/ssmpipe/ssmpipe/proxy/aws/awstest"
	"github.com/ssmpipe/ssmpipe/proxy/rigtest"
	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// What the examples connect to. The environment leads to it, in which all tests
// that have a service of their own set the same variables.

var (
	userKey         ssh.Signer
	hostKey         ssh.PublicKey
	awsConfigOfMine aws.Config
)

// startExamples starts the examples' service and sets the environment.
func startExamples() (stop func()) {
	srv := awstest.NewServer(awstest.Config{})
	redis := miniredis.NewMiniRedis()
	if err := redis.Start(); err != nil {
		log.Fatal(err)
	}
	hosts := rigtest.NewInside()
	hosts.Put("cache.internal:6379", redis.Addr())
	var listeners []net.Listener
	put := func(address string, handle func(net.Conn)) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		listeners = append(listeners, l)
		hosts.Put(address, l.Addr().String())
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					handle(c)
				}()
			}
		}()
	}
	put("localhost:7", rigtest.Echo)
	put("localhost:22", newSSHServer())
	put("db.internal:5432", servePostgres)
	put("wiki.internal:80", serveWiki)
	srv.AddNode(awstest.Node{ID: "i-00000000000000001", Name: "web-1", Tags: map[string]string{"role": "db"}, Node: ssmtest.Node{Dial: hosts.Dial}})
	srv.AddNode(awstest.Node{ID: "i-00000000000000002", Name: "bastion", Node: ssmtest.Node{Dial: hosts.Dial}})
	srv.AddNode(awstest.Node{ID: "i-00000000000000003", Name: "batch-1", State: "stopped"})
	for _, v := range srv.Env() {
		name, value, _ := strings.Cut(v, "=")
		os.Setenv(name, value)
	}
	awsConfigOfMine = *rigtest.AWSConfig(srv)
	return func() {
		for _, l := range listeners {
			l.Close()
		}
		redis.Close()
		srv.Close()
		if n := srv.ActiveSessions(); n > 0 {
			log.Fatalf("the examples leave %d sessions in the account", n)
		}
	}
}

func newKey() ssh.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		log.Fatal(err)
	}
	return signer
}

// newSSHServer makes the keys, and a server that knows one command.
func newSSHServer() func(net.Conn) {
	userKey = newKey()
	server := newKey()
	hostKey = server.PublicKey()
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(userKey.PublicKey().Marshal()) {
			return nil, fmt.Errorf("not the user's key")
		}
		return nil, nil
	}}
	config.AddHostKey(server)
	return func(c net.Conn) {
		_, channels, requests, err := ssh.NewServerConn(c, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for offered := range channels {
			channel, requests, err := offered.Accept()
			if err != nil {
				return
			}
			for r := range requests {
				known := r.Type == "exec" && strings.HasSuffix(string(r.Payload), "hostname")
				r.Reply(known, nil)
				if known {
					io.WriteString(channel, "web-1\n")
					channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
					channel.Close()
				}
			}
		}
	}
}

func serveWiki(c net.Conn) {
	for in := bufio.NewReader(c); ; {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nwelcome to the wiki")
	}
}

// servePostgres answers every query with the name of the database.
func servePostgres(c net.Conn) {
	b := pgproto3.NewBackend(c, c)
	var database string
	for database == "" {
		message, err := b.ReceiveStartupMessage()
		if err != nil {
			return
		}
		switch m := message.(type) {
		case *pgproto3.SSLRequest, *pgproto3.GSSEncRequest:
			c.Write([]byte("N"))
		case *pgproto3.StartupMessage:
			database = m.Parameters["database"]
		default:
			return
		}
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for b.Flush() == nil {
		message, err := b.Receive()
		if err != nil {
			return
		}
		switch m := message.(type) {
		case *pgproto3.Parse:
			b.Send(&pgproto3.ParseComplete{})
		case *pgproto3.Describe:
			if m.ObjectType == 'S' {
				b.Send(&pgproto3.ParameterDescription{})
			}
			const text = 25
			b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("current_database"), DataTypeOID: text, DataTypeSize: -1, TypeModifier: -1}}})
		case *pgproto3.Bind:
			b.Send(&pgproto3.BindComplete{})
		case *pgproto3.Execute:
			b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte(database)}})
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
		case *pgproto3.Sync:
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		case *pgproto3.Terminate:
			return
		}
	}
}
