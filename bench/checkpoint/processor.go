package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// process runs the SDK's processor in a place, as its published example does, until the context ends. It is greedy, so
// that it has all partitions soon; once it has them that makes no difference.
func process(ctx context.Context, s *service, p *place) error {
	consumer, err := azeventhubs.NewConsumerClientFromConnectionString(s.connection, p.hub, azeventhubs.DefaultConsumerGroup, nil)
	if err != nil {
		return err
	}
	defer func() { _ = consumer.Close(context.WithoutCancel(ctx)) }()
	blobs, err := container.NewClientFromConnectionString(s.blob, p.container, nil)
	if err != nil {
		return err
	}
	store, err := checkpoints.NewBlobStore(blobs, nil)
	if err != nil {
		return err
	}
	processor, err := azeventhubs.NewProcessor(consumer, store, &azeventhubs.ProcessorOptions{LoadBalancingStrategy: azeventhubs.ProcessorStrategyGreedy})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for {
			client := processor.NextPartitionClient(ctx)
			if client == nil {
				return
			}
			go func() {
				if err := receive(ctx, client, &p.program); err != nil && ctx.Err() == nil {
					cancel(fmt.Errorf("partition %s: %w", client.PartitionID(), err))
				}
			}()
		}
	}()
	if err := processor.Run(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

// receive handles a partition: so many events, or what comes in some time, then a checkpoint.
func receive(ctx context.Context, client *azeventhubs.ProcessorPartitionClient, p *program) error {
	defer func() { _ = client.Close(context.WithoutCancel(ctx)) }()
	for {
		limited, cancel := context.WithTimeout(ctx, p.wait)
		events, err := client.ReceiveEvents(limited, p.events, nil)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if len(events) == 0 {
			continue
		}
		if err := client.UpdateCheckpoint(ctx, events[len(events)-1], nil); err != nil {
			return err
		}
	}
}

// sendsPerSecond is in how many batches a second's events of a partition come.
const sendsPerSecond = 2

// generate sends a place its events until the context ends.
func generate(ctx context.Context, connection string, p *place) error {
	producer, err := azeventhubs.NewProducerClientFromConnectionString(connection, p.hub, nil)
	if err != nil {
		return err
	}
	defer func() { _ = producer.Close(context.WithoutCancel(ctx)) }()
	tick := time.NewTicker(time.Second / sendsPerSecond)
	defer tick.Stop()
	for {
		for i := range p.partitions {
			batch, err := producer.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionID: new(strconv.Itoa(i))})
			for range p.rate / sendsPerSecond {
				if err == nil {
					err = batch.AddEventData(&azeventhubs.EventData{Body: make([]byte, 100)}, nil)
				}
			}
			if err == nil {
				err = producer.SendEventDataBatch(ctx, batch, nil)
			}
			if err != nil {
				return fmt.Errorf("generate events for %s: %w", p.hub, err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
