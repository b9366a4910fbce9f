using System.Net;
using System.Net.Sockets;

namespace Fabric.Drills.Measurement;

/// <summary>Connecting without waiting, and what a socket's error is called in a report.</summary>
internal static class ProbeSockets
{
    /// <summary>How long a wait lasts before it looks whether the load was ended.</summary>
    public static readonly TimeSpan Turn = TimeSpan.FromMilliseconds(50);

    /// <summary>Begins to connect; <see cref="Finished"/> says what came of it, when the socket can be written to.</summary>
    public static Socket Begin(OpenSocket open, IPEndPoint target)
    {
        var socket = open(target.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        socket.NoDelay = true;
        socket.Blocking = false;
        try
        {
            socket.Connect(target);
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.WouldBlock or SocketError.InProgress)
        {
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }

        return socket;
    }

    /// <summary>Empty when it is connected, else why not.</summary>
    public static string Finished(Socket socket)
    {
        try
        {
            var error = (int)socket.GetSocketOption(SocketOptionLevel.Socket, SocketOptionName.Error)!;
            return error == 0 ? "" : Name((SocketError)error);
        }
        catch (SocketException e)
        {
            return Name(e.SocketErrorCode);
        }
    }

    /// <summary>Connects, and waits for it at most so long. The socket blocks; null when <paramref name="error"/> says why, or when it was ended.</summary>
    public static Socket? Connect(OpenSocket open, IPEndPoint target, TimeSpan limit, SteadyTime time, CancellationToken ended, out string error)
    {
        error = "";
        Socket socket;
        try
        {
            socket = Begin(open, target);
        }
        catch (SocketException e)
        {
            error = Name(e.SocketErrorCode);
            return null;
        }

        for (var since = time.GetTimestamp(); !ended.IsCancellationRequested;)
        {
            if (socket.Poll(Turn, SelectMode.SelectWrite))
            {
                error = Finished(socket);
                if (error.Length == 0)
                {
                    socket.Blocking = true;
                    return socket;
                }

                break;
            }

            if (time.GetElapsedTime(since) >= limit)
            {
                error = Late("no connection", limit);
                break;
            }
        }

        socket.Dispose();
        return null;
    }

    /// <summary>"no answer within 5 s": the same words each time, so that failures can be counted by their reason.</summary>
    public static string Late(string what, TimeSpan limit) =>
        string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{what} within {limit.TotalSeconds:0.###} s");

    public static string Name(SocketError error) => error switch
    {
        SocketError.ConnectionRefused => "connection refused",
        SocketError.ConnectionReset or SocketError.ConnectionAborted or SocketError.Shutdown => "connection reset",
        SocketError.HostUnreachable or SocketError.NetworkUnreachable => "no route",
        SocketError.TimedOut => "connection timed out",
        SocketError.AddressNotAvailable => "no local port left",
        SocketError.TooManyOpenSockets => "no socket left",
        _ => $"socket error {error}",
    };
}
