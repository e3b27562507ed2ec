package aws

import (
	"context"
	"errors"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
)

var errInteractive = errors.New("credentials come from a program, which might prompt for them")

// Unattended reports whether credentials can be fetched while nobody watches. It
// returns an error for profiles whose credentials come from a program:
// many such programs open a browser when they have none, which users do not
// expect of the Tab key.
func Unattended(ctx context.Context, profile string) error {
	if profile == "" {
		env, err := config.NewEnvConfig()
		if err != nil {
			return err
		}
		if env.Credentials.HasKeys() {
			return nil
		}
		if profile = env.SharedConfigProfile; profile == "" {
			profile = "default"
		}
	}
	shared, err := config.LoadSharedConfigProfile(ctx, profile, func(o *config.LoadSharedConfigOptions) {
		if f := os.Getenv("AWS_CONFIG_FILE"); f != "" {
			o.ConfigFiles = []string{f}
		}
		if f := os.Getenv("AWS_SHARED_CREDENTIALS_FILE"); f != "" {
			o.CredentialsFiles = []string{f}
		}
	})
	if err != nil {
		return nil // there may be credentials elsewhere
	}
	for p := &shared; p != nil; p = p.Source {
		if p.CredentialProcess != "" {
			return errInteractive
		}
	}
	return nil
}
