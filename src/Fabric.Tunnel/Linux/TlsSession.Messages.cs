using System.Runtime.InteropServices;
using static Fabric.Tunnel.Linux.Libssl;

namespace Fabric.Tunnel.Linux;

/// <summary>What TLS itself says after the handshake: alerts (RFC 8446 §6), key updates and tickets (§4.6).</summary>
internal sealed partial class TlsSession
{
    /// <summary>Empty records, and warnings, that a peer may send in a row.</summary>
    private const int MaxIdleRecords = 32;

    private const byte KeyUpdate = 24;
    private const byte NewSessionTicket = 4;
    private const int MessageHeader = 4;

    private const int CloseNotify = 0;
    private const int UnexpectedMessage = 10;
    private const int BadRecordMac = 20;
    private const int RecordOverflow = 22;
    private const int IllegalParameter = 47;
    private const int DecodeError = 50;
    private const int UserCanceled = 90;

    private readonly byte[] _message = new byte[MessageHeader];
    private int _idleRecords;
    private bool _closeReceived;
    private bool _answerDue;
    private long _messagesSince;
    private int _messages;

    /// <summary>Of the handshake message that began: bytes of its header that are there, and of its body that are not.</summary>
    private int _messageHeader;
    private int _messageLeft;

    /// <summary>A record that carries nothing of the application's.</summary>
    private void TakeOther(byte type, ReadOnlySpan<byte> content)
    {
        switch (type)
        {
            case TlsRecordType.Handshake when content.Length > 0:
                TakeMessages(content);
                break;
            case TlsRecordType.Alert when content.Length == 2 && !IsInMessage:
                TakeAlert(content[1]);
                break;
            case TlsRecordType.ApplicationData when !IsInMessage:
                CountIdle("empty records");
                break;
            case TlsRecordType.Alert when content.Length != 2:
                Fail(DecodeError, "bad alert");
                break;
            default:
                Fail(UnexpectedMessage, IsInMessage ? "a record in the middle of a handshake message" : "bad content type");
                break;
        }
    }

    private void TakeAlert(int alert)
    {
        switch (alert)
        {
            case CloseNotify:
                _closeReceived = true;
                break;
            case UserCanceled:
                CountIdle("warnings");
                break;
            default:
                _alertReceived = NameOf(alert);
                End(TlsStatus.Failed);
                break;
        }
    }

    private void CountIdle(string what)
    {
        if (++_idleRecords > MaxIdleRecords)
        {
            Fail(UnexpectedMessage, $"too many {what} in a row");
        }
    }

    private bool IsInMessage => _messageHeader > 0;

    /// <summary>Handshake messages, or parts of them: tickets, which are left, and key updates.</summary>
    private void TakeMessages(ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0 && _end is null)
        {
            if (_messageHeader < MessageHeader)
            {
                _message[_messageHeader++] = bytes[0];
                bytes = bytes[1..];
                if (_messageHeader == MessageHeader)
                {
                    BeginMessage();
                }

                continue;
            }

            var take = Math.Min(bytes.Length, _messageLeft);
            var last = bytes[take - 1];
            bytes = bytes[take..];
            _messageLeft -= take;
            if (_messageLeft == 0)
            {
                _messageHeader = 0;
                if (_message[0] == KeyUpdate)
                {
                    ChangeKey(last, isLast: bytes.Length == 0);
                }
            }
        }
    }

    private void BeginMessage()
    {
        _messageLeft = _message[1] << 16 | _message[2] << 8 | _message[3];
        switch (_message[0])
        {
            case KeyUpdate when _messageLeft == 1:
            case NewSessionTicket when !_isServer && _messageLeft is > 0 and <= ushort.MaxValue * 2:
                CountMessage();
                break;
            case KeyUpdate or NewSessionTicket when !(_isServer && _message[0] == NewSessionTicket):
                Fail(DecodeError, "a handshake message of the wrong length");
                break;
            default:
                Fail(UnexpectedMessage, $"unexpected handshake message {_message[0]}");
                break;
        }
    }

    /// <summary>The peer's records are under its next key from here on (RFC 8446 §4.6.3).</summary>
    private void ChangeKey(byte request, bool isLast)
    {
        if (request > 1)
        {
            Fail(IllegalParameter, "bad key update");
        }
        else if (!isLast)
        {
            Fail(UnexpectedMessage, "a message after a key update, under the old key");
        }
        else
        {
            _readKey!.Update();
            _answerDue |= request == 1;
        }
    }

    /// <summary>Changes this end's key as well. False while there is no room to say so.</summary>
    private bool TryAnswer()
    {
        if (_output.Length + TlsKey.Overhead + MessageHeader + 1 > _options.OutputLimit)
        {
            return false;
        }

        _answerDue = false;
        if (!_closeSent)
        {
            CountMessage();
            UpdateKey(ofPeer: false);
        }

        return true;
    }

    private void CountMessage()
    {
        var now = _options.Time.GetTimestamp();
        if (_messages == 0 || _options.Time.GetElapsedTime(_messagesSince, now) >= TimeSpan.FromSeconds(1))
        {
            (_messages, _messagesSince) = (0, now);
        }

        if (++_messages > _options.MaxMessagesPerSecond)
        {
            Fault($"the peer sent more than {_options.MaxMessagesPerSecond} TLS handshake messages in a second");
            Fail(UnexpectedMessage, "flood");
        }
    }

    /// <summary>Tells the peer why, and ends it.</summary>
    private void Fail(int alert, string reason)
    {
        if (_end is not null)
        {
            return;
        }

        if (!_closeSent)
        {
            TrySeal([2, (byte)alert], TlsRecordType.Alert);
        }

        _alertSent = NameOf(alert);
        _failure = reason;
        End(TlsStatus.Failed);
    }

    private static string? NameOf(int alert) => Marshal.PtrToStringUTF8(SSL_alert_desc_string_long(alert));
}
