package hub_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

func codeOf(err error) azeventhubs.ErrorCode {
	if e, ok := errors.AsType[*azeventhubs.Error](err); ok {
		return e.Code
	}
	return ""
}

func TestWrongKey(t *testing.T) {
	s := start(t, nil)
	err := trySend(t, s.producerAs("one", "root", "wrong"), azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	wantError(t, err, "InvalidSignature: The token has an invalid signature.")
	if got := codeOf(err); got != azeventhubs.ErrorCodeUnauthorizedAccess {
		t.Errorf("code %q", got)
	}
	err = receiveError(t, receiver(t, s.consumerAs("one", "$Default", "nobody", rootKey), "0", earliest()))
	wantError(t, err, "InvalidSignature")
}

func TestRights(t *testing.T) {
	s := start(t, nil)
	send(t, s.producerAs("one", "send", sendKey), azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	receive(t, receiver(t, s.consumerAs("one", "$Default", "listen", listenKey), "0", earliest()), 1)

	err := trySend(t, s.producerAs("one", "listen", listenKey), azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	wantError(t, err, "amqp:unauthorized-access", "'Send' claim(s) are required to perform this operation.")
	if got := codeOf(err); got != azeventhubs.ErrorCodeUnauthorizedAccess {
		t.Errorf("code %q", got)
	}
	err = receiveError(t, receiver(t, s.consumerAs("one", "$Default", "send", sendKey), "0", earliest()))
	wantError(t, err, "amqp:unauthorized-access", "'Listen' claim(s)")
}

func TestExpiredSignature(t *testing.T) {
	s := start(t, nil)
	for name, tc := range map[string]struct {
		expires time.Duration
		want    string
	}{
		"valid":   {time.Hour, ""},
		"expired": {-time.Hour, "ExpiredToken: The token is expired. Expiration time:"},
	} {
		t.Run(name, func(t *testing.T) {
			cs := "Endpoint=sb://" + s.addr + ";SharedAccessSignature=" + signature(s.addr, "root", rootKey, tc.expires) +
				";UseDevelopmentEmulator=true;EntityPath=one"
			p, err := azeventhubs.NewProducerClientFromConnectionString(cs, "", &azeventhubs.ProducerClientOptions{RetryOptions: noRetry})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = p.Close(context.Background()) }()
			err = trySend(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
			if tc.want != "" {
				wantError(t, err, tc.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
