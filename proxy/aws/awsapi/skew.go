package awsapi

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	smithymw "github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// maxSkew is how far the service's clock may be from ours to be trusted.
// Signatures are dated by the service's clock, so that a wrong clock here does
// no harm. But anyone who has seen a signature can use it once its date has
// come, so we must not sign for next year.
const maxSkew = 24 * time.Hour

// boundSkew keeps clients of cfg from using a date that is too far off. It
// calls notice once if there is one.
func boundSkew(cfg *aws.Config, notice func(string)) {
	var once sync.Once
	cfg.APIOptions = append(cfg.APIOptions[:len(cfg.APIOptions):len(cfg.APIOptions)], func(stack *smithymw.Stack) error {
		return stack.Deserialize.Add(smithymw.DeserializeMiddlewareFunc("ssmpipe/skew", func(ctx context.Context, in smithymw.DeserializeInput, next smithymw.DeserializeHandler) (
			smithymw.DeserializeOutput, smithymw.Metadata, error) {
			out, md, err := next.HandleDeserialize(ctx, in)
			res, ok := out.RawResponse.(*smithyhttp.Response)
			if !ok {
				return out, md, err
			}
			date, dateErr := http.ParseTime(res.Header.Get("Date"))
			if skew := time.Until(date); dateErr == nil && skew.Abs() > maxSkew {
				res.Header.Del("Date") // the SDK reads it from there
				once.Do(func() {
					way := "ahead of"
					if skew < 0 {
						way = "behind"
					}
					notice(fmt.Sprintf("AWS's clock is %s %s this machine's, which is implausible and ignored; check this machine's clock", safetext.Roughly(skew.Abs()), way))
				})
			}
			return out, md, err
		}), smithymw.After)
	})
}
