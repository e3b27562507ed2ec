package examine

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	smithymw "github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// apiLog records the results of the API calls made by the code under examination.
type apiLog struct {
	mu    sync.Mutex
	skew  time.Duration // how far the service's clock is ahead of ours
	known bool
	calls map[string]error // the last result of each operation on sessions
	id    string           // of the session started last
	began time.Time        // when StartSession was answered
}

// attach makes clients that use cfg report to l.
func (l *apiLog) attach(cfg *aws.Config) {
	l.calls = make(map[string]error)
	cfg.APIOptions = append(cfg.APIOptions, func(stack *smithymw.Stack) error {
		clock := smithymw.DeserializeMiddlewareFunc("ssmpipeClock", func(ctx context.Context, in smithymw.DeserializeInput, next smithymw.DeserializeHandler) (smithymw.DeserializeOutput, smithymw.Metadata, error) {
			out, md, err := next.HandleDeserialize(ctx, in)
			if res, ok := out.RawResponse.(*smithyhttp.Response); ok {
				l.tookDate(res.Header)
			}
			return out, md, err
		})
		calls := smithymw.InitializeMiddlewareFunc("ssmpipeCalls", func(ctx context.Context, in smithymw.InitializeInput, next smithymw.InitializeHandler) (smithymw.InitializeOutput, smithymw.Metadata, error) {
			out, md, err := next.HandleInitialize(ctx, in)
			l.called(out.Result, in.Parameters, err)
			return out, md, err
		})
		return errors.Join(stack.Deserialize.Add(clock, smithymw.After), stack.Initialize.Add(calls, smithymw.Before))
	})
}

func (l *apiLog) called(result, parameters any, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch parameters.(type) {
	case *ssm.StartSessionInput:
		l.calls["StartSession"], l.began = err, time.Now()
		if out, ok := result.(*ssm.StartSessionOutput); ok && err == nil {
			l.id = aws.ToString(out.SessionId)
		}
	case *ssm.TerminateSessionInput:
		l.calls["TerminateSession"] = err
	}
}

// of returns the result of an operation, if it was called.
func (l *apiLog) of(operation string) (err error, called bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err, called = l.calls[operation]
	return err, called
}

func (l *apiLog) tookDate(h http.Header) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skew, l.known = time.Until(date), true
}

func (l *apiLog) clockSkew() (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.skew, l.known
}
