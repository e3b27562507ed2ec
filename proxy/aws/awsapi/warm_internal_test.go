package awsapi

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// TestWarmIsDroppedTwice: nothing waits for a connection whose opening has not
// begun, however often it is dropped.
func TestWarmIsDroppedTwice(t *testing.T) {
	for _, begun := range []bool{false, true} {
		w := warmUp(t.Context(), aws.Config{Region: "us-east-1", HTTPClient: awshttp.NewBuildableClient(),
			BaseEndpoint: aws.String("https://127.0.0.1:1")})
		if w.timer == nil {
			t.Fatal("there is nothing to open")
		}
		if begun {
			<-w.ready // closed: nothing listens there
		}
		dropped := make(chan struct{})
		go func() {
			w.Drop()
			w.Drop()
			close(dropped)
		}()
		select {
		case <-dropped:
		case <-time.After(10 * time.Second):
			t.Errorf("begun %v: no end", begun)
		}
	}
}
