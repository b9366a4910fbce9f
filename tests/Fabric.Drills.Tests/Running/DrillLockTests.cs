using Fabric.Drills.Running;

namespace Fabric.Drills.Tests.Running;

public sealed class DrillLockTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("fabric-drills-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void One_run_at_a_time_and_it_is_named()
    {
        using (var first = DrillLock.TryTake(_folder, "a-1", out var nobody))
        {
            Assert.NotNull(first);
            Assert.Equal("", nobody);
            Assert.Null(DrillLock.TryTake(_folder, "b-1", out var holder));
            Assert.Equal("a-1", holder);
        }

        using var second = DrillLock.TryTake(_folder, "b-1", out _);
        Assert.NotNull(second);
    }

    /// <summary>Killed, a run leaves its name for an abort; done, it leaves none.</summary>
    [Fact]
    public void What_was_not_done_is_named_afterwards()
    {
        Assert.Null(DrillLock.Holder(_folder));
        DrillLock.TryTake(_folder, "a-1", out _)!.Dispose();
        Assert.Equal("a-1", DrillLock.Holder(_folder));
        using (var held = DrillLock.TryTake(_folder, "b-1", out _)!)
        {
            held.Done();
        }

        Assert.Null(DrillLock.Holder(_folder));
    }

    [Fact]
    public void One_that_touched_nothing_leaves_the_name_of_the_one_before()
    {
        DrillLock.TryTake(_folder, "a-1", out _)!.Dispose();
        using var refused = DrillLock.TryTake(_folder, "b-1", out _)!;
        refused.Done(touched: false);
        Assert.Equal("a-1", DrillLock.Holder(_folder));
    }

    [Fact]
    public void A_run_is_asked_to_stop_and_the_next_one_is_not()
    {
        using (var first = DrillLock.TryTake(_folder, "a-1", out _)!)
        {
            Assert.False(first.StopAsked);
            DrillLock.AskToStop(_folder);
            Assert.True(first.StopAsked);
        }

        using var second = DrillLock.TryTake(_folder, "b-1", out _)!;
        Assert.False(second.StopAsked);
    }
}
