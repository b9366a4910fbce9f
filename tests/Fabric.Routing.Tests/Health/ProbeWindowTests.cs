using Fabric.Routing.Health;

namespace Fabric.Routing.Tests.Health;

/// <summary>What is told of a link for statistics: each 10 s by themselves, the bad ones too.</summary>
public class ProbeWindowTests
{
    private readonly LinkHealth _health = new(new LinkHealthOptions(), TimeSpan.Zero);
    private readonly List<ProbeWindow> _windows = [];
    private TimeSpan _now;

    [Fact]
    public void Each_window_has_its_own_probes_and_none_is_told_twice()
    {
        Run(10, every: 50, i => i % 2 == 0 ? 4 : 6);
        Run(10, every: 50, i => i % 20 == 0 ? null : 5);
        Run(11, every: 50, _ => 5);

        Assert.Equal(3, _windows.Count);
        Assert.All(_windows, w => Assert.InRange(w.Answered + w.Lost, 198, 202));
        Assert.Equal((0, true), (_windows[0].Loss, _windows[0].Passes));
        // 1 ms to both sides of 5; the first samples are further away.
        Assert.InRange(_windows[0].Jitter!.Value.TotalMilliseconds, 0.9, 1.2);
        Assert.InRange(_windows[1].Loss, 0.045, 0.055);
        Assert.InRange(_windows[2].Loss, 0, 0.01);
        Assert.InRange(_windows[2].Jitter!.Value.TotalMilliseconds, 0, 0.05);
    }

    [Fact]
    public void A_link_that_is_down_loses_everything_and_has_no_jitter()
    {
        Run(10, every: 50, _ => 5);
        Run(20, every: 1_000, _ => null);

        Assert.Equal(new ProbeWindow(0, 10, null, Passes: false), _windows[^1]);
        Assert.Equal(1, _windows[^1].Loss);
    }

    [Fact]
    public void An_idle_link_is_told_of_as_often_as_an_active_one()
    {
        Run(60, every: 1_000, _ => 5);

        Assert.InRange(_windows.Count, 5, 6);
        Assert.All(_windows, w => Assert.InRange(w.Answered, 9, 11));
    }

    [Fact]
    public void Time_without_a_probe_is_in_no_window()
    {
        Pass(60_000);
        Assert.Empty(_windows);

        Run(5, every: 50, _ => 5);
        Assert.Empty(_windows);
        Run(6, every: 50, _ => 5);
        Assert.Single(_windows);
    }

    /// <param name="answer">Milliseconds until the answer of that probe; null: none.</param>
    private void Run(int seconds, int every, Func<int, int?> answer)
    {
        for (var i = 0; i < seconds * 1_000 / every; i++)
        {
            var sequence = _health.ProbeSent(_health.WantsFullSize(_now), _now);
            Pass(answer(i) ?? 0);
            if (answer(i) is not null)
            {
                _health.Answered(sequence, sequence, _now, TimeSpan.Zero, out _);
            }

            Pass(every - (answer(i) ?? 0));
        }
    }

    private void Pass(int milliseconds)
    {
        for (var i = 0; i < milliseconds; i++)
        {
            _now += TimeSpan.FromMilliseconds(1);
            _health.Tick(_now, TimeSpan.Zero);
            if (_health.TryTakeWindow(_now, out var window))
            {
                _windows.Add(window);
            }
        }
    }
}
