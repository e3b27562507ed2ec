package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	"golang.org/x/crypto/ssh"

	"github.com/ssmpipe/ssmpipe/proxy"
)

// A port of a machine, with the credentials and the region of the environment.
func ExampleDialer() {
	var d proxy.Dialer
	defer d.Close()

	conn, err := d.Dial("tcp", "web-1:7")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, "hello")
	var answer string
	fmt.Fscanln(conn, &answer)
	fmt.Println(answer)
	// Output: hello
}

// A PostgreSQL that only the machine called bastion reaches, for database/sql
// by way of pgx.
func ExampleDialer_sql() {
	d := proxy.Dialer{Via: "bastion"}
	defer d.Close()

	config, err := pgx.ParseConfig("postgres://app:secret@db.internal/shop")
	if err != nil {
		log.Fatal(err)
	}
	config.DialFunc = d.DialContext
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) {
		return []string{host}, nil // the name is looked up from the bastion
	}
	db := stdlib.OpenDB(*config)
	defer db.Close()

	var name string
	if err := db.QueryRow("SELECT current_database()").Scan(&name); err != nil {
		log.Fatal(err)
	}
	fmt.Println("connected to", name)
	// Output: connected to shop
}

// A web server behind the machine called bastion.
func ExampleDialer_http() {
	d := proxy.Dialer{Via: "bastion"}
	defer d.Close()

	client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://wiki.internal/")
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s\n", response.Status, page)
	// Output: 200 OK: welcome to the wiki
}

// A command over ssh, without an ssh.
func ExampleDialer_ssh() {
	var d proxy.Dialer
	defer d.Close()

	const address = "web-1:22"
	conn, err := d.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	c, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User:            "ec2-user",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(userKey)},
		HostKeyCallback: ssh.FixedHostKey(hostKey),
	})
	if err != nil {
		log.Fatal(err)
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()

	session, err := client.NewSession()
	if err != nil {
		log.Fatal(err)
	}
	out, err := session.Output("hostname")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", out)
	// Output: web-1
}

// A Redis behind the machine called bastion.
func ExampleDialer_redis() {
	d := proxy.Dialer{Via: "bastion"}
	defer d.Close()

	client := redis.NewClient(&redis.Options{
		Addr:   "cache.internal:6379",
		Dialer: d.DialContext,
	})
	defer client.Close()

	ctx := context.Background()
	if err := client.Set(ctx, "greeting", "hello", 0).Err(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(client.Get(ctx, "greeting").Val())
	// Output: hello
}

// What went wrong, for a program to decide on.
func ExampleDialer_DialContext_errors() {
	var d proxy.Dialer
	defer d.Close()

	for _, address := range []string{"web-11:22", "batch-1:22", "web-1:81"} {
		conn, err := d.DialContext(context.Background(), "tcp", address)
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // where nothing listens, this says so
			conn.Close()
		}
		switch {
		case errors.Is(err, proxy.ErrNoMachine):
			fmt.Println(address, "is not known")
		case errors.Is(err, proxy.ErrAway):
			fmt.Println(address, "is off")
		case errors.Is(err, proxy.ErrRefused):
			fmt.Println(address, "does not listen")
		}
	}
	// Output:
	// web-11:22 is not known
	// batch-1:22 is off
	// web-1:81 does not listen
}

// A configuration that the program has already, as of another account's role.
func ExampleDialer_aws() {
	d := proxy.Dialer{AWS: &awsConfigOfMine, Region: "us-east-1"}
	defer d.Close()

	conn, err := d.Dial("tcp", "tag:role=db:7")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Println("connected to", conn.RemoteAddr())
	// Output: connected to tag:role=db:7
}
