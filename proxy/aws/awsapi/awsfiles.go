package awsapi

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/ssmpipe/ssmpipe/proxy/regular"
	"github.com/ssmpipe/ssmpipe/proxy/safetext"
)

// maxAWSFile is larger than any AWS configuration file, in bytes.
const maxAWSFile = 16 << 20

// loadDefaultConfig is config.LoadDefaultConfig with checks on the files. The
// SDK reads any kind of file to its end and ignores ctx. A file may be a pipe
// (in shells, AWS_CONFIG_FILE=<(PROGRAM)), which is waited for until ctx ends,
// but not a device without an end.
func loadDefaultConfig(ctx context.Context, options []func(*config.LoadOptions) error) (aws.Config, error) {
	for variable, name := range awsFiles() {
		info, err := os.Stat(name)
		if err != nil || info.Mode()&os.ModeNamedPipe != 0 {
			continue
		}
		switch err := regular.Check(name, maxAWSFile); {
		case errors.Is(err, regular.ErrNotRegular), errors.Is(err, regular.ErrTooLarge):
			return aws.Config{}, fmt.Errorf("%s: it is read as the AWS configuration; set %s", safetext.Printable(err.Error()), variable)
		}
	}
	type loaded struct {
		Config aws.Config
		err    error
	}
	done := make(chan loaded, 1)
	go func() { // ends when the files have been read
		cfg, err := config.LoadDefaultConfig(ctx, options...)
		done <- loaded{cfg, err}
	}()
	select {
	case l := <-done:
		return l.Config, l.err
	case <-ctx.Done():
		return aws.Config{}, context.Cause(ctx)
	}
}

// awsFiles returns the AWS configuration files, each keyed by the variable that
// can override its name.
func awsFiles() map[string]string {
	files := map[string]string{
		"AWS_CONFIG_FILE":             config.DefaultSharedConfigFilename(),
		"AWS_SHARED_CREDENTIALS_FILE": config.DefaultSharedCredentialsFilename(),
		"AWS_CA_BUNDLE":               "",
	}
	for variable := range files {
		if name := os.Getenv(variable); name != "" {
			files[variable] = name
		}
	}
	return files
}
