using System.Net;
using System.Net.Sockets;
using Fabric.Identity;
using Fabric.Tunnel.Drivers;
using Fabric.Tunnel.Portable;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// A connection between gateways on an event loop. Its handshake, HELLO, and protocols other than lanes are the business of tasks, which
/// wait for the loop to say that the socket is ready: so cryptography of handshakes never holds up the loop. A lane takes it over.
/// </summary>
internal sealed class LinuxConnection : GatewayConnection
{
    private readonly LinuxDriver _driver;
    private readonly LoopSocket _socket;
    private TlsSession? _tls;
    private TlsStream? _stream;
    private ILinkFaults? _faults;
    private string _peer = "";
    private string _link = "";
    private int _disposed;

    public LinuxConnection(LinuxDriver driver, LoopSocket socket)
    {
        (_driver, _socket) = (driver, socket);
        Remote = socket.Remote;
    }

    public override IPEndPoint? Remote { get; }

    public override long BytesReceived => _tls?.BytesReceived ?? 0;

    public override Stream Stream => _stream!;

    public TlsSession Tls => _tls!;

    public override string PeerRoot => _tls?.PeerRoot ?? "";

    public LoopSocket Socket => _socket;

    /// <summary>Told when a fault came or went.</summary>
    public Action? FaultsChanged { get; set; }

    public override void Obey(ILinkFaults? faults, string peer, string link)
    {
        if (faults is null || _faults is not null)
        {
            return;
        }

        (_peer, _link, _faults) = (peer, link, faults);
        faults.Changed += OnFaults;
        OnFaults(peer, link);
    }

    public override void Carry(int channel) => _socket.Carry(channel);

    private void OnFaults(string peer, string link)
    {
        if (peer == _peer && link == _link)
        {
            ApplyFaults();
            _socket.Nudge();
            FaultsChanged?.Invoke();
        }
    }

    private void ApplyFaults()
    {
        if (_faults is { } faults && _tls is { } tls)
        {
            var fault = faults.Current(_peer, _link);
            // A lane that is closed has to read that it is.
            var closed = fault.HasFlag(LinkFault.Closed);
            tls.HoldReads = fault.HasFlag(LinkFault.CutIn) && !closed;
            tls.HoldWrites = fault.HasFlag(LinkFault.CutOut) && !closed;
            if (closed)
            {
                _socket.Shut();
            }
        }
    }

    public override async Task<(string Protocol, GatewayId? Peer)> AcceptAsync(IEnumerable<string> protocols, CancellationToken cancellationToken)
    {
        var tls = TlsSession.Server(_driver.Tls, new TlsSocket(_socket.Descriptor), protocols);
        await ShakeHandsAsync(tls, cancellationToken).ConfigureAwait(false);
        return (tls.SelectedAlpn, tls.Peer);
    }

    public override async Task<GatewayId> ConnectAsync(string expectedGateway, CancellationToken cancellationToken)
    {
        var tls = TlsSession.Client(_driver.Tls, new TlsSocket(_socket.Descriptor), MutualTls.LaneProtocol, expectedGateway);
        await ShakeHandsAsync(tls, cancellationToken).ConfigureAwait(false);
        return tls.Peer!.Value;
    }

    private async Task ShakeHandsAsync(TlsSession tls, CancellationToken cancellationToken)
    {
        _tls = tls;
        ApplyFaults();
        _stream = new TlsStream(_socket, tls);
        await _stream.ShakeHandsAsync(cancellationToken).ConfigureAwait(false);
    }

    public override Lane ToLane() => new LinuxLane(_driver.Tunnel, this);

    public override void Abort()
    {
        _socket.Abandon();
        Close(goodbye: false);
    }

    public override ValueTask DisposeAsync()
    {
        Close(goodbye: true);
        return ValueTask.CompletedTask;
    }

    /// <summary>Closes it; when nothing broke, the other side is told by TLS. Idempotent.</summary>
    private void Close(bool goodbye)
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        if (_faults is { } faults)
        {
            faults.Changed -= OnFaults;
        }

        if (goodbye)
        {
            _stream?.SayGoodbye();
        }

        _socket.Close(_tls);
    }

    /// <summary>The lane has ended it all. On the loop's thread.</summary>
    public void Closed()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0 && _faults is { } faults)
        {
            faults.Changed -= OnFaults;
        }
    }
}

/// <summary>A connected socket that tasks wait for, until it is handed over to a lane.</summary>
internal sealed class LoopSocket(EventLoop loop, Socket socket) : LoopItem(loop)
{
    private readonly AsyncSignal _readable = new();
    private readonly AsyncSignal _writable = new();
    private volatile bool _hungUp;

    /// <inheritdoc cref="TlsSession.HungUp"/>
    public bool HungUp => _hungUp;

    public IPEndPoint? Remote { get; private set; } = socket.Connected ? socket.RemoteEndPoint as IPEndPoint : null;

    public int Descriptor { get; } = (int)socket.Handle;

    /// <inheritdoc cref="GatewayConnection.Carry"/>
    public void Carry(int channel) => Sockets.PrepareChannel(socket, channel);

    /// <summary>No bytes pass any more, either way, and both ends hear it; its owner closes it.</summary>
    public void Shut()
    {
        try
        {
            socket.Shutdown(SocketShutdown.Both);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Not connected yet, or closed already.
        }
    }

    /// <summary>From now on the loop tells.</summary>
    public void Start() => Loop.Post(() => Loop.Watch(Descriptor, this));

    /// <summary>Waits for the connection that was begun. Throws <see cref="SocketException"/> when it failed.</summary>
    public async Task ConnectedAsync(IPEndPoint remote, CancellationToken cancellationToken)
    {
        using (cancellationToken.UnsafeRegister(static s => ((LoopSocket)s!).Nudge(), this))
        {
            await WritableAsync().ConfigureAwait(false);
        }

        cancellationToken.ThrowIfCancellationRequested();
        if (Libc.PendingError(Descriptor) is var error and not 0)
        {
            throw LinuxErrors.Exception(error);
        }

        Remote = remote;
    }

    public ValueTask ReadableAsync() => _readable.WaitAsync();

    public ValueTask WritableAsync() => _writable.WaitAsync();

    /// <summary>Whoever waits looks again.</summary>
    public void Nudge()
    {
        _readable.Set();
        _writable.Set();
    }

    public override void OnEvents(uint events)
    {
        if (Libc.IsHangUp(events))
        {
            _hungUp = true;
        }

        if ((events & ~Libc.EpollOut) != 0)
        {
            _readable.Set();
        }

        if ((events & ~(Libc.EpollIn | Libc.EpollPeerClosed)) != 0)
        {
            _writable.Set();
        }
    }

    public override void Run()
    {
    }

    public override void Stop()
    {
        Loop.Unwatch(this);
        Nudge();
    }

    /// <summary>
    /// What happens on the socket is the item's from now on, on its loop; what is ready already is told it. It has a turn in any case: what
    /// came to pass for it before it was watched no event tells.
    /// </summary>
    public void HandOver(LoopItem item) => Loop.Post(() =>
    {
        Loop.Unwatch(this, Descriptor);
        item.Loop.Post(() =>
        {
            item.Loop.Watch(Descriptor, item);
            item.Loop.Schedule(item);
        });
    });

    /// <summary>The close will drop what was not sent yet, and the other side sees a reset.</summary>
    public void Abandon()
    {
        try
        {
            socket.LingerState = new LingerOption(true, 0);
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            // It is closed already.
        }
    }

    /// <summary>Closes it, on the loop's thread: what the loop still does with it comes before.</summary>
    public void Close(TlsSession? tls) => Loop.Post(() =>
    {
        Loop.Unwatch(this);
        Nudge();
        socket.Dispose();
        tls?.Dispose();
    });

    /// <summary>Closes what was handed over. On the thread of the loop that has it.</summary>
    public void CloseHere() => socket.Dispose();
}

/// <summary>The kernel's error numbers as exceptions of .NET.</summary>
internal static class LinuxErrors
{
    private const int ConnectionRefused = 111;
    private const int ConnectionReset = 104;

    public static SocketException Exception(int errno) => new(errno switch
    {
        ConnectionRefused => (int)SocketError.ConnectionRefused,
        ConnectionReset => (int)SocketError.ConnectionReset,
        _ => (int)SocketError.SocketError,
    }, Libc.Explain(errno));
}
