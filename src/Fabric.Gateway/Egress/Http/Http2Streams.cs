namespace Fabric.Gateway.Egress.Http;

/// <summary>Streams of a connection that were passed on and have not ended, with what each request may still send.</summary>
internal sealed class Http2Streams
{
    /// <summary>More than that are refused, whatever the endpoint takes: it is asked again then.</summary>
    public const int Most = 1024;

    private readonly Lock _lock = new();
    private readonly Dictionary<int, Live> _live = [];

    /// <summary>False when there are too many.</summary>
    public bool TryBegin(int id, ILiveRequest request, long? length, bool ends)
    {
        lock (_lock)
        {
            if (_live.Count >= Most)
            {
                return false;
            }

            _live[id] = new Live(request, length) { CallerEnded = ends };
            return true;
        }
    }

    /// <summary>Whether the caller may still send on it.</summary>
    public bool IsOpen(int id)
    {
        lock (_lock)
        {
            return _live.TryGetValue(id, out var live) && !live.CallerEnded;
        }
    }

    public bool IsLive(int id)
    {
        lock (_lock)
        {
            return _live.ContainsKey(id);
        }
    }

    /// <summary>Bytes of a body. False when they are not as many as the request said.</summary>
    public bool Sends(int id, int bytes, bool ends)
    {
        lock (_lock)
        {
            return !_live.TryGetValue(id, out var live) || live.Length is null || ((live.Length -= bytes) >= 0 && (!ends || live.Length == 0));
        }
    }

    /// <summary>The endpoint answers it, with that status; 0: it cannot be told which.</summary>
    public void Answered(int id, int status)
    {
        lock (_lock)
        {
            if (status >= 200 && _live.TryGetValue(id, out var live))
            {
                live.Request.Answered(status);
            }
        }
    }

    public void CallerEnds(int id) => Ends(id, live => live.CallerEnded = true);

    public void EndpointEnds(int id) => Ends(id, live => live.EndpointEnded = true);

    /// <summary>Both ways at once.</summary>
    public void Reset(int id) => Ends(id, live => live.CallerEnded = live.EndpointEnded = true);

    public void Clear()
    {
        lock (_lock)
        {
            foreach (var live in _live.Values)
            {
                live.Request.Dispose();
            }

            _live.Clear();
        }
    }

    private void Ends(int id, Action<Live> end)
    {
        lock (_lock)
        {
            if (!_live.TryGetValue(id, out var live))
            {
                return;
            }

            end(live);
            if (live.CallerEnded && live.EndpointEnded)
            {
                live.Request.Dispose();
                _live.Remove(id);
            }
        }
    }

    private sealed class Live(ILiveRequest request, long? length)
    {
        public ILiveRequest Request => request;

        /// <summary>Bytes of the body that are yet to come; null when it did not say.</summary>
        public long? Length { get; set; } = length;

        public bool CallerEnded { get; set; }

        public bool EndpointEnded { get; set; }
    }
}
