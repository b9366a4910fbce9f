using Fabric.Gateway.Egress;
using Fabric.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Egress;

public sealed class StreamReviewTests
{
    [Fact]
    public async Task The_last_version_always_has_a_review_that_began_after_it_and_two_never_run_at_once()
    {
        var (version, reviewed, running, failures) = (0, 0, 0, 0);
        var review = new StreamReview(() =>
        {
            failures += Interlocked.Increment(ref running) == 1 ? 0 : 1;
            var now = Volatile.Read(ref version);
            Thread.SpinWait(now % 50);
            Volatile.Write(ref reviewed, now);
            Interlocked.Decrement(ref running);
            return 0;
        }, () => "0", NullLogger.Instance);
        for (var round = 0; round < 200; round++)
        {
            await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() =>
            {
                Interlocked.Increment(ref version);
                review.Signal();
            })));
            await Wait.UntilAsync(() => Volatile.Read(ref reviewed) == Volatile.Read(ref version), () => $"version {version} is reviewed");
        }

        Assert.Equal(0, failures);
    }

    [Fact]
    public async Task A_review_that_fails_is_not_the_last()
    {
        var (asked, done) = (0, 0);
        var review = new StreamReview(
            () => Interlocked.Increment(ref asked) == 1 ? throw new InvalidOperationException("once") : Interlocked.Increment(ref done), () => "0", NullLogger.Instance);
        review.Signal();
        await Wait.UntilAsync(() => Volatile.Read(ref asked) == 1, () => "the first was asked for");
        review.Signal();
        await Wait.UntilAsync(() => Volatile.Read(ref done) == 1, () => "the second was done");
    }
}
